"""`/ui/students/{name}`: a student to try, its versions and aliases, and how to call it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Query, Request, Response
from sqlalchemy import select
from sqlalchemy.orm import Session

from app.database import ReadSessionDep
from app.jobs.aliases import LATEST
from app.ownership import current_project
from app.predictions.routes import predicted
from app.principals import needs
from app.students.drift import drift_report
from app.students.history import way_back
from app.students.schemas import StudentOut, StudentVersion
from app.students.service import get_student
from app.students.shadow import get_shadow
from app.tables import Alias, AliasMove, Shadow
from app.web.rendering import page, page_router
from app.web.snippets import snippets

ON_PAGE = 25
MOVES = 10
DRIFT_DAYS = 7

router = page_router()
trials = APIRouter(include_in_schema=False)


@dataclass(frozen=True)
class AliasView:
    """`moves`: its last ones, the newest first. `back_to`: the version that a rollback leads to; None if there is none."""

    alias: str
    version: int
    since: datetime
    moves: Sequence[AliasMove]
    back_to: int | None


@router.get("/ui/students/{name}")
def show_student(
    name: str, request: Request, session: ReadSessionDep, before: Annotated[int | None, Query(ge=1, le=2**31 - 1)] = None
) -> Response:
    student = get_student(session, name)
    versions = [version for version in student.versions if before is None or version.version < before]
    served = _served(student)
    base_url = str(request.base_url).rstrip("/")
    return page(
        request,
        "student.html",
        student=student,
        served=served,
        versions=versions[:ON_PAGE],
        next_before=versions[ON_PAGE - 1].version if len(versions) > ON_PAGE else None,
        before=before,
        pointing=_pointing(student.aliases),
        aliases=_aliases(session, student),
        # Asked for only where there is one: it reads the student again.
        shadow=get_shadow(session, name) if session.get(Shadow, (current_project(), name)) else None,
        drift=drift_report(session, name, served.version, DRIFT_DAYS),
        snippets=snippets(base_url, name, served.version),
        base_url=base_url,
    )


@trials.post("/ui/predict")
@needs("predict")
async def try_text(request: Request) -> Response:
    """`/predict` for the try-it box, which asks at each letter: none of that is a live text."""
    return await predicted(request, counted=False)


def _served(student: StudentOut) -> StudentVersion:
    """What the plain name means."""
    meant = student.aliases.get(LATEST)
    return next((version for version in student.versions if version.version == meant), student.versions[0])


def _pointing(aliases: Mapping[str, int]) -> dict[int, list[str]]:
    """Aliases by version, `latest` first."""
    found: dict[int, list[str]] = {}
    for alias in sorted(aliases, key=lambda alias: (alias != LATEST, alias)):
        found.setdefault(aliases[alias], []).append(alias)
    return found


def _aliases(session: Session, student: StudentOut) -> list[AliasView]:
    there = {version.version for version in student.versions}
    rows = session.scalars(select(Alias).where(Alias.name == student.name))
    moves: dict[str, list[AliasMove]] = {}
    for move in session.scalars(select(AliasMove).where(AliasMove.name == student.name).order_by(AliasMove.id)):
        moves.setdefault(move.alias, []).append(move)
    views = []
    for row in sorted(rows, key=lambda row: (row.alias != LATEST, row.alias)):
        made = moves.get(row.alias, [])
        earlier = [version for version in way_back(made) if version in there and version != row.version]
        views.append(AliasView(row.alias, row.version, row.updated_at, made[: -MOVES - 1 : -1], earlier[-1] if earlier else None))
    return views
