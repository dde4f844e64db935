"""`/students`: what is published, and which version an alias means."""

from typing import Annotated

from fastapi import APIRouter, Path, Query

from app.database import ReadSessionDep, SessionDep
from app.jobs.openapi import problems
from app.paging import Page, PageLimit
from app.storage import get_storage
from app.students import service
from app.students.deletion import delete_alias, delete_student, delete_version
from app.students.schemas import AliasOut, AliasTarget, StudentOut

router = APIRouter(prefix="/students", tags=["students"])


@router.get("", responses=problems(_422="A value out of range."))
def list_students(
    session: ReadSessionDep, limit: PageLimit, after: Annotated[str | None, Query(description="Name of the last student seen.")] = None
) -> Page[StudentOut]:
    """Published students by name, each with its versions and aliases."""
    items, has_more = service.list_students(session, limit=limit, after=after)
    return Page[StudentOut](items=items, has_more=has_more, next_after=items[-1].name if has_more else None)


@router.get("/{name}", responses=problems(_404="There is no such student."))
def get_student(name: str, session: ReadSessionDep) -> StudentOut:
    return service.get_student(session, name)


@router.put("/{name}/aliases/{alias}", responses=problems(_404="There is no such student or version.", _422="That cannot be an alias."))
def put_alias(name: str, alias: str, target: AliasTarget, session: SessionDep) -> AliasOut:
    """Points an alias at a version; `latest` may be moved back, and moves on with the next publication."""
    row = service.point_alias(session, name, alias, target.version)
    return AliasOut(name=row.name, alias=row.alias, version=row.version, updated_at=row.updated_at)


@router.delete(
    "/{name}/aliases/{alias}", status_code=204, responses=problems(_404="There is no such student or alias.", _422="`latest` stays.")
)
def remove_alias(name: str, alias: str, session: SessionDep) -> None:
    delete_alias(session, name, alias)


@router.delete(
    "/{name}/versions/{version}",
    status_code=204,
    responses=problems(_404="There is no such student or version.", _409="An alias other than `latest` points at it."),
)
def remove_version(name: str, version: Annotated[int, Path(ge=1, le=2**31 - 1)]) -> None:
    """Removes a version for good; its number is not given out again. `latest` moves to the highest version that is left."""
    delete_version(name, version, get_storage())


@router.delete("/{name}", status_code=204, responses=problems(_404="There is no such student."))
def remove_student(name: str) -> None:
    """Removes all versions of a student, and all its aliases."""
    delete_student(name, get_storage())
