"""API keys and the audit log as tables for a terminal."""

from collections.abc import Sequence
from datetime import UTC, datetime

from rich.console import RenderableType

from gendistil.models import AuditEntry, Key
from gendistil.tables import add, plain_table


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


def audit_table(entries: Sequence[AuditEntry]) -> RenderableType:
    table = plain_table("when (UTC)", "who", "action", "what", "")
    for entry in entries:
        detail = ", ".join(f"{name}: {value}" for name, value in entry.detail.items() if value is not None)
        add(table, _minute(entry.at), entry.actor, entry.action, entry.subject, detail)
    return table


def _minute(moment: datetime | None) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%d %H:%M") if moment else ""
