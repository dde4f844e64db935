"""The gate: whether a version that was just published becomes `latest`."""

from dataclasses import dataclass

from sqlalchemy.orm import Session

from app.contracts.comparison import Comparison, Promote
from app.jobs.aliases import LATEST, Cause, lock_alias, set_alias


class ChampionMoved(Exception):
    """`latest` means another version by now than the one that was compared: compare again."""


@dataclass(frozen=True)
class Promotion:
    """`before`: the version that `latest` meant; none for the first of a name."""

    before: int | None
    moved: bool
    reason: str


def promote(
    session: Session,
    name: str,
    version: int,
    comparison: Comparison | None,
    asked: Promote = Promote.IF_NOT_WORSE,
    asked_reason: str | None = None,
) -> Promotion:
    """Moves `latest` to the version, or leaves it.

    Raises `ChampionMoved` if the comparison, by which this is decided, was with another version than the present one.
    """
    present = lock_alias(session, name, LATEST)
    before = present.version if present else None
    if before is None:
        moved, reason = True, "the first version"
    elif asked == Promote.IF_NOT_WORSE:
        if comparison is not None and comparison.champion != before:
            raise ChampionMoved(f"{name}@{LATEST} is version {before}, and version {comparison.champion} was compared")
        moved = comparison is None or comparison.not_worse
        reason = comparison.told(name) if comparison else "not compared"
    else:
        moved = asked == Promote.ALWAYS
        reason = f"asked for by promote: {asked}" + (f" ({asked_reason})" if asked_reason else "")
    if moved:
        set_alias(session, name, LATEST, version, Cause.PUBLISH, reason)
    return Promotion(before, moved, reason)
