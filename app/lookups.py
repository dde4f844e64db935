"""Rows by their ids, and lists of them by cursor."""

from typing import Any, TypeVar

from sqlalchemy import Select, tuple_
from sqlalchemy.orm import Session

from app.paging import unknown_cursor

Row = TypeVar("Row")


def storable(identifier: str) -> bool:
    """Whether it may be an identifier at all. PostgreSQL refuses to look for a text with a NUL or half a surrogate pair."""
    return identifier.isascii() and identifier.isprintable()


def by_id(session: Session, table: type[Row], identifier: str) -> Row | None:
    """`identifier`: whatever a caller sent."""
    return session.get(table, identifier) if storable(identifier) else None


def newest_first(session: Session, query: Select[Any], table: Any, *, limit: int, after: str | None) -> tuple[list[Any], bool]:
    """A page of the rows of `table` that `query` selects, behind the one with the id `after`, and whether there are more.

    Raises `ServiceError` 422 for an unknown `after`.
    """
    query = query.order_by(table.created_at.desc(), table.id.desc()).limit(limit + 1)
    if after is not None:
        if (last := by_id(session, table, after)) is None:
            raise unknown_cursor(after[:60])
        query = query.where(tuple_(table.created_at, table.id) < (last.created_at, last.id))
    found = list(session.scalars(query))
    return found[:limit], len(found) > limit
