"""`/students`: what is published, and which version an alias means."""

from typing import Annotated

from fastapi import APIRouter, Query

from app.database import ReadSessionDep, SessionDep
from app.jobs.openapi import problems
from app.paging import Page, PageLimit
from app.students import service
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
