"""Where an alias has pointed, and the way back."""

import re
from collections.abc import Iterable

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.errors import ServiceError
from app.jobs.aliases import Cause, lock_alias, set_alias
from app.jobs.schemas import NAME_PATTERN
from app.ownership import current_project
from app.students.schemas import ALIAS_PATTERN, AliasMoveOut
from app.students.service import unknown_name, unknown_part
from app.tables import Alias, AliasMove, Student


def alias_history(session: Session, name: str, alias: str, *, limit: int, after: int | None) -> tuple[list[AliasMoveOut], bool]:
    """Moves before the one with the id `after`, the newest first, and whether there are more; also of an alias that was deleted.

    Raises `ServiceError` 404 where there is neither the alias nor a move of it.
    """
    _check_names(session, name, alias)
    query = select(AliasMove).where(AliasMove.name == name, AliasMove.alias == alias)
    page = query if after is None else query.where(AliasMove.id < after)
    found = list(session.scalars(page.order_by(AliasMove.id.desc()).limit(limit + 1)))
    if not found and session.get(Alias, (current_project(), name, alias)) is None and session.scalar(query.limit(1)) is None:
        raise unknown_part(session, name, f"has no alias {alias!r}")
    return [AliasMoveOut.model_validate(move, from_attributes=True) for move in found[:limit]], len(found) > limit


def roll_back(session: Session, name: str, alias: str, reason: str | None = None) -> Alias:
    """Points the alias to the version that it meant before; called again, further back. Versions that were deleted are passed over.

    Raises `ServiceError`: 404 no such student or alias, 409 if it meant no other version before that is still there.
    """
    _check_names(session, name, alias)
    # Before the alias, as by all who lock both; so none is deleted before the alias points there.
    versions = select(Student.version).where(Student.name == name).order_by(Student.version)
    there = set(session.scalars(versions.with_for_update(read=True, key_share=True)))
    row = lock_alias(session, name, alias)
    if row is None:
        raise unknown_part(session, name, f"has no alias {alias!r}")
    moves = session.scalars(select(AliasMove).where(AliasMove.name == name, AliasMove.alias == alias).order_by(AliasMove.id))
    earlier = [version for version in way_back(moves) if version in there and version != row.version]
    if not earlier:
        remedy = f"Point it where it should be: PUT /students/{name}/aliases/{alias}. GET .../history tells where it was."
        detail = f"{name}@{alias} is version {row.version}, and meant no other version before that is still there."
        raise ServiceError(409, "no-earlier-version", detail, remedy=remedy)
    return set_alias(session, name, alias, earlier[-1], Cause.ROLLBACK, reason)


def way_back(moves: Iterable[AliasMove]) -> list[int]:
    """The versions that undoing one move after the other leads through, the present one last. `moves`: the oldest first.

    A rollback takes the versions that it left off the way, so that the next one goes further back. An alias that was deleted begins anew.
    """
    path: list[int] = []
    for move in moves:
        if move.to_version is None:
            path = []
            continue
        if not path and move.from_version is not None:  # an alias that is older than the history
            path = [move.from_version]
        if move.cause == Cause.ROLLBACK and move.to_version in path:
            while path[-1] != move.to_version:
                path.pop()
        else:
            path.append(move.to_version)
    return path


def _check_names(session: Session, name: str, alias: str) -> None:
    if not re.fullmatch(NAME_PATTERN, name):
        raise unknown_name(session, name)
    if not re.fullmatch(ALIAS_PATTERN, alias):
        raise unknown_part(session, name, f"has no alias {alias[:60]!r}")
