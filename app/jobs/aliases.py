"""Aliases, each move of which is written into a history, in the transaction that makes it. The caller commits."""

from contextlib import suppress
from enum import StrEnum

from sqlalchemy import select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from app.tables import Alias, AliasMove, utcnow

LATEST = "latest"


class Cause(StrEnum):
    """What moved an alias: a job that published, a caller, a rollback, or the deletion of the version or alias."""

    PUBLISH = "publish"
    CALLER = "caller"
    ROLLBACK = "rollback"
    DELETE = "delete"


def lock_alias(session: Session, name: str, alias: str) -> Alias | None:
    """As committed last, kept from all others until the transaction ends."""
    query = select(Alias).where(Alias.name == name, Alias.alias == alias)
    return session.scalar(query.with_for_update().execution_options(populate_existing=True))


def set_alias(session: Session, name: str, alias: str, version: int, cause: Cause, reason: str | None = None) -> Alias:
    """Points `name@alias` to a version that exists. Where it points there already, nothing changes, and nothing is written."""
    while (row := lock_alias(session, name, alias)) is None:
        # Another transaction may create the alias between the two statements; then the SELECT finds it.
        with suppress(IntegrityError), session.begin_nested():
            session.add(row := Alias(name=name, alias=alias, version=version))
            session.flush()
            _record(session, name, alias, None, version, cause, reason)
            return row
    if row.version != version:
        _record(session, name, alias, row.version, version, cause, reason)
        row.version, row.updated_at = version, utcnow()
        session.flush()
    return row


def drop_alias(session: Session, row: Alias, reason: str | None = None) -> None:
    _record(session, row.name, row.alias, row.version, None, Cause.DELETE, reason)
    session.delete(row)


def _record(session: Session, name: str, alias: str, old: int | None, new: int | None, cause: Cause, reason: str | None) -> None:
    session.add(AliasMove(name=name, alias=alias, from_version=old, to_version=new, cause=cause, reason=reason))
