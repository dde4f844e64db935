"""`/projects`: whose rows are kept apart, and how much each may use."""

from typing import Annotated

from fastapi import APIRouter, Query, Request

from app.access import projects
from app.access.keyring import refresh_keyring
from app.access.project_schemas import ProjectChange, ProjectDetail, ProjectId, ProjectIn, ProjectOut
from app.database import ReadSessionDep, SessionDep, transaction
from app.openapi import problems
from app.paging import Page, PageLimit
from app.principals import needs

router = APIRouter(prefix="/projects", tags=["access"])

_NONE = "There is no such project."
_UNREADABLE = "The body cannot be read."
_RANGE = "A value out of range."


@router.post("", status_code=201, responses=problems(_400=_UNREADABLE, _409="There is, or was, one of this id.", _422=_RANGE))
@needs("operator")
def post_project(wanted: ProjectIn, session: SessionDep) -> ProjectOut:
    """Makes a project, with its quotas. `POST /keys` then makes keys of it, which see nothing of others."""
    return projects.create_project(session, wanted)


@router.get("", responses=problems(_422=_RANGE))
@needs("operator")
def list_projects(
    session: ReadSessionDep, limit: PageLimit, after: Annotated[ProjectId | None, Query(description="Id of the last one seen.")] = None
) -> Page[ProjectOut]:
    """By their ids, with their quotas."""
    items, has_more = projects.list_projects(session, limit=limit, after=after)
    return Page[ProjectOut](items=items, has_more=has_more, next_after=items[-1].id if has_more else None)


@router.get("/{project_id}", responses=problems(_404=_NONE))
@needs("read")
def get_project(project_id: str, session: ReadSessionDep) -> ProjectDetail:
    """Its quotas, and what it uses. A key sees its own project; an operator's sees any."""
    return projects.get_project(session, project_id)


@router.patch("/{project_id}", responses=problems(_400=_UNREADABLE, _404=_NONE, _422=_RANGE))
@needs("operator")
def patch_project(project_id: str, change: ProjectChange, request: Request) -> ProjectOut:
    """Changes the quotas that are sent; null lifts one. They hold for what is asked from now on."""
    with transaction() as session:
        found = projects.change_project(session, project_id, change)
    refresh_keyring(request)
    return found


@router.delete("/{project_id}", status_code=204, responses=problems(_404=_NONE, _409="There is something in it, or it is `default`."))
@needs("operator")
def delete_project(project_id: str, session: SessionDep) -> None:
    """Removes an empty project, whose keys are all revoked or expired. Its log stays, so its id is not given out again."""
    projects.delete_project(session, project_id)
