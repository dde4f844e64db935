"""API keys, projects and the audit log as tables for a terminal."""

from collections.abc import Sequence
from datetime import UTC, datetime

from rich.console import RenderableType

from gendistil.models import AuditEntry, Key, Project, ProjectDetail
from gendistil.tables import add, plain_table

_QUOTAS = (
    ("jobs running", "jobs_running", "jobs_running"),
    ("jobs open", "jobs_open", "jobs_open"),
    ("rows", "rows", "rows"),
    ("bytes", "bytes", "bytes"),
    ("minutes a month", "minutes_per_month", "minutes_this_month"),
    ("texts/s", "texts_per_second", None),
)
"""Headings, quotas, and what of `usage` counts against each."""


def keys_table(keys: Sequence[Key]) -> RenderableType:
    table = plain_table("id", "name", "prefix", "scopes", "texts/s", "state", "last use")
    now = datetime.now(UTC)
    for key in keys:
        state = "revoked" if key.revoked_at else "expired" if key.expires_at and key.expires_at <= now else "good"
        until = f" until {_minute(key.expires_at)}" if state == "good" and key.expires_at else ""
        rate = f"{key.texts_per_second:g}" if key.texts_per_second else ""
        cells = (key.id, key.name, key.prefix, ", ".join(key.scopes), rate, state + until, _minute(key.last_used_at))
        add(table, *cells, style="" if state == "good" else "dim")
    return table


def projects_table(projects: Sequence[Project]) -> RenderableType:
    """Their quotas; an empty cell is any number."""
    headings = [heading for heading, _, _ in _QUOTAS]
    table = plain_table("id", *headings, right=headings)
    for project in projects:
        add(table, project.id, *(_figure(getattr(project, quota)) for _, quota, _ in _QUOTAS))
    return table


def project_table(project: ProjectDetail) -> RenderableType:
    """A line for each quota."""
    table = plain_table("", "uses", "may use", right=["uses", "may use"], title=f"The project {project.id}")
    for heading, quota, used in _QUOTAS:
        uses = _figure(getattr(project.usage, used)) if used else ""
        add(table, heading, uses, _figure(getattr(project, quota)) or "any number")
    return table


def _figure(value: float | None) -> str:
    return "" if value is None else f"{value:,.10g}"


def audit_table(entries: Sequence[AuditEntry]) -> RenderableType:
    table = plain_table("when (UTC)", "who", "action", "what", "")
    for entry in entries:
        detail = ", ".join(f"{name}: {value}" for name, value in entry.detail.items() if value is not None)
        add(table, _minute(entry.at), entry.actor, entry.action, entry.subject, detail)
    return table


def _minute(moment: datetime | None) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%d %H:%M") if moment else ""
