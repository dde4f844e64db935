"""Whether the project at hand may have more: refused with the quota, what of it is used, and when to try again.

The project's row is locked until the transaction ends, so that of two requests at once only one gets the last place. It is locked after
jobs and contents of datasets, and before names of students; whoever locks several of these keeps to that order.
"""

import math
from datetime import UTC, datetime, timedelta

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.errors import ServiceError, not_found
from app.ownership import current_project
from app.quotas.figures import bytes_stored, jobs_open, minutes_used, rows_stored
from app.tables import Project, utcnow

_JOB_SECONDS = 60
"""When to ask for a place among the open jobs again: one that ends may do so any time."""
_RAISE = "whoever runs this service can raise the quota"


def check_job(session: Session, *, new_bytes: int = 0, lock: bool = True) -> None:
    """For a job that is made, or resumed. `new_bytes`: of its rows, if they are not stored yet. `lock=False`: nothing will come of it.

    Raises `ServiceError` `quota-exceeded`: 429 for open jobs and the month's minutes, 403 for bytes. Those of what a job will make are
    not known, so there must be some left.
    """
    quotas = _quotas(session, lock)
    if quotas.jobs_open is not None and (count := jobs_open(session)) >= quotas.jobs_open:
        detail = f"The project {quotas.id!r} has {count:,} open jobs (queued or running); its quota is {quotas.jobs_open:,}."
        raise _refused(429, detail, f"Try again when one has ended, or cancel one; {_RAISE}.", retry_seconds=_JOB_SECONDS)
    if quotas.minutes_per_month is not None and (used := minutes_used(session)) >= quotas.minutes_per_month:
        now = utcnow()
        next_month = (datetime(now.year, now.month, 1, tzinfo=UTC) + timedelta(days=32)).replace(day=1)
        detail = (
            f"The project {quotas.id!r} has used {used:,.1f} minutes of its {quotas.minutes_per_month:,g} in this month. "
            f"The next begins on {next_month:%Y-%m-%d} (UTC)."
        )
        raise _refused(429, detail, f"Try again then; {_RAISE}.", retry_seconds=math.ceil((next_month - now).total_seconds()))
    if quotas.bytes is not None and (stored := bytes_stored(session) + new_bytes) >= quotas.bytes:
        detail = f"The project {quotas.id!r} would store {stored:,} bytes; its quota of {quotas.bytes:,} has no room for what a job makes."
        raise _no_room(detail)


def check_rows(session: Session, rows: int, size: int, *, lock: bool = True) -> None:
    """For rows that are not stored yet, of so many bytes. Raises `ServiceError` 403 `quota-exceeded`."""
    quotas = _quotas(session, lock)
    if quotas.rows is not None and (stored := rows_stored(session)) + rows > quotas.rows:
        detail = f"The project {quotas.id!r} has {stored:,} rows, and {rows:,} more would pass its quota of {quotas.rows:,}."
        raise _refused(403, detail, f"Delete datasets that are not needed (DELETE /datasets/ID), or ask for more: {_RAISE}.")
    _check_bytes(session, quotas, size)


def check_space(session: Session, size: int) -> None:
    """For a file of so many bytes. Raises `ServiceError` 403 `quota-exceeded`."""
    _check_bytes(session, _quotas(session, True), size)


def _check_bytes(session: Session, quotas: Project, size: int) -> None:
    if quotas.bytes is not None and (stored := bytes_stored(session)) + size > quotas.bytes:
        detail = f"The project {quotas.id!r} stores {stored:,} bytes, and {size:,} more would pass its quota of {quotas.bytes:,}."
        raise _no_room(detail)


def _no_room(detail: str) -> ServiceError:
    return _refused(403, detail, f"Delete jobs, students, datasets or files that are not needed, or ask for more: {_RAISE}.")


def _refused(status: int, detail: str, remedy: str, *, retry_seconds: int | None = None) -> ServiceError:
    headers = {"Retry-After": str(retry_seconds)} if retry_seconds is not None else None
    return ServiceError(status, "quota-exceeded", detail, remedy=remedy, headers=headers)


def _quotas(session: Session, lock: bool) -> Project:
    query = select(Project).where(Project.id == current_project()).execution_options(populate_existing=True)
    found = session.scalar(query)
    if found is None:  # its last key is still known here for a moment
        raise not_found("project", current_project(), "It was deleted a moment ago.")
    limited = any(limit is not None for limit in (found.jobs_open, found.rows, found.bytes, found.minutes_per_month))
    return session.scalars(query.with_for_update()).one() if lock and limited else found
