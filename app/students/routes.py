"""`/students`: what is published, and which version an alias means."""

from typing import Annotated

from fastapi import APIRouter, Path, Query

from app.database import ReadSessionDep, SessionDep
from app.openapi import problems
from app.paging import LARGEST_ID, Page, PageLimit
from app.storage import get_storage
from app.students import service
from app.students.deletion import delete_alias, delete_student, delete_version
from app.students.drift import KEPT_DAYS, drift_report
from app.students.history import alias_history, roll_back
from app.students.schemas import (
    ALIAS_PATTERN,
    AliasMoveOut,
    AliasOut,
    AliasTarget,
    DriftOut,
    RollbackOptions,
    ShadowOut,
    ShadowTarget,
    StudentOut,
)
from app.students.shadow import delete_shadow, get_shadow, put_shadow

router = APIRouter(prefix="/students", tags=["students"])

_UNREADABLE = "The body cannot be read: not UTF-8, or nested too deeply."


@router.get("", responses=problems(_422="A value out of range."))
def list_students(
    session: ReadSessionDep, limit: PageLimit, after: Annotated[str | None, Query(description="Name of the last student seen.")] = None
) -> Page[StudentOut]:
    """Published students by name, each with its versions and aliases."""
    items, has_more = service.list_students(session, limit=limit, after=after)
    return Page[StudentOut](items=items, has_more=has_more, next_after=items[-1].name if has_more else None)


@router.get("/{name}", responses=problems(_404="There is no such student."))
def get_student(name: str, session: ReadSessionDep) -> StudentOut:
    """Its versions, with their metrics and the gate's decisions, and its aliases."""
    return service.get_student(session, name)


@router.put(
    "/{name}/aliases/{alias}",
    responses=problems(_400=_UNREADABLE, _404="There is no such student or version.", _422="That cannot be an alias."),
)
def put_alias(
    name: str, alias: Annotated[str, Path(json_schema_extra={"pattern": ALIAS_PATTERN})], target: AliasTarget, session: SessionDep
) -> AliasOut:
    """Points an alias at a version; `latest` may be moved back, and moves on with the next publication that is not worse."""
    return AliasOut.model_validate(service.point_alias(session, name, alias, target.version, target.reason), from_attributes=True)


@router.post(
    "/{name}/aliases/{alias}/rollback",
    responses=problems(
        _400=_UNREADABLE, _404="There is no such student or alias.", _409="It meant no other version before that is still there."
    ),
)
def rollback_alias(name: str, alias: str, session: SessionDep, options: RollbackOptions | None = None) -> AliasOut:
    """Points an alias to the version that it meant before; called again, further back. Deleted versions are passed over."""
    return AliasOut.model_validate(roll_back(session, name, alias, options.reason if options else None), from_attributes=True)


@router.get(
    "/{name}/aliases/{alias}/history",
    responses=problems(_404="There is no such student, or it never had that alias.", _422="A value out of range."),
)
def get_alias_history(
    name: str,
    alias: str,
    session: ReadSessionDep,
    limit: PageLimit,
    after: Annotated[int | None, Query(ge=1, le=LARGEST_ID, description="Id of the last move seen.")] = None,
) -> Page[AliasMoveOut]:
    """Where an alias has pointed, why and since when, the newest move first."""
    items, has_more = alias_history(session, name, alias, limit=limit, after=after)
    return Page[AliasMoveOut](items=items, has_more=has_more, next_after=items[-1].id if has_more else None)


@router.delete(
    "/{name}/aliases/{alias}", status_code=204, responses=problems(_404="There is no such student or alias.", _422="`latest` stays.")
)
def remove_alias(name: str, alias: str, session: SessionDep) -> None:
    """Takes an alias away; the version that it meant stays, and so does the alias's history."""
    delete_alias(session, name, alias)


_NO_STUDENT_OR_VERSION = "There is no such student or version."
_NO_SHADOW = "There is no such student, or no version is its shadow."


@router.put("/{name}/shadow", responses=problems(_400=_UNREADABLE, _404=_NO_STUDENT_OR_VERSION, _422="A value out of range."))
def set_shadow(name: str, target: ShadowTarget, session: SessionDep) -> ShadowOut:
    """Scores a version on a share of the name's live texts, without any effect on the answers. Another version's figures begin anew."""
    return put_shadow(session, name, target)


@router.get("/{name}/shadow", responses=problems(_404=_NO_SHADOW))
def read_shadow(name: str, session: ReadSessionDep) -> ShadowOut:
    """How often the shadow has answered as the version that serves, and how long both took."""
    return get_shadow(session, name)


@router.delete("/{name}/shadow", status_code=204, responses=problems(_404=_NO_SHADOW))
def remove_shadow(name: str, session: SessionDep) -> None:
    """Ends the shadow: live texts are answered as before, and scored no second time."""
    delete_shadow(session, name)


@router.get("/{name}/versions/{version}/drift", responses=problems(_404=_NO_STUDENT_OR_VERSION, _422="A value out of range."))
def get_drift(
    name: str,
    version: Annotated[int, Path(ge=1, le=2**31 - 1)],
    session: ReadSessionDep,
    days: Annotated[int, Query(ge=1, le=KEPT_DAYS, description="Days (UTC) to look back, today among them.")] = 7,
) -> DriftOut:
    """Whether live texts are still such as the version was measured on: labels, scores and unknown pieces beside its holdout's."""
    return drift_report(session, name, version, days)


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
