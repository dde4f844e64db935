"""`/`, `/ui/jobs` and `/ui/students`: what there is, the newest first."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated

from fastapi import Query, Request, Response
from sqlalchemy import and_, func, or_, select
from sqlalchemy.orm import Session

from app.contracts.stages import JobStatus
from app.database import ReadSessionDep
from app.errors import ServiceError
from app.jobs import service
from app.jobs.aliases import LATEST
from app.jobs.lifecycle import OPEN_JOB
from app.jobs.schemas import JobOut
from app.jobs.views import job_out, stage_history
from app.lookups import storable
from app.paging import unknown_cursor
from app.tables import Alias, Job, Student
from app.web.rendering import page, page_router

PAGE = 50
_ON_HOME = 10

router = page_router()


@dataclass(frozen=True)
class StudentLine:
    """A student's name in a list. What is measured is of the version that the plain name means."""

    name: str
    version: int
    versions: int
    kind: str
    accuracy: float | None
    bytes: int
    labels: int
    published_at: datetime


@router.get("/")
def home(request: Request, session: ReadSessionDep) -> Response:
    jobs, more_jobs = service.list_jobs(session, limit=_ON_HOME, after=None, status=None, name=None)
    students, more_students = student_lines(session, limit=_ON_HOME)
    return page(request, "home.html", jobs=job_lines(session, jobs), more_jobs=more_jobs, students=students, more_students=more_students)


@router.get("/ui/jobs")
def jobs(
    request: Request,
    session: ReadSessionDep,
    after: Annotated[str | None, Query(max_length=60)] = None,
    status: Annotated[str, Query(max_length=20)] = "",
    name: Annotated[str, Query(max_length=100)] = "",
) -> Response:
    if status and status not in set(JobStatus):
        raise ServiceError(422, "invalid-request", f"No job can be {status!r}.", remedy=f"Ask for one of: {', '.join(JobStatus)}.")
    wanted = JobStatus(status) if status else None
    found, has_more = service.list_jobs(session, limit=PAGE, after=after, status=wanted, name=name or None)
    next_after = found[-1].id if has_more else None
    lines = job_lines(session, found)
    return page(
        request,
        "jobs.html",
        jobs=lines,
        next_after=next_after,
        after=after,
        chosen=status,
        name=name,
        statuses=list(JobStatus),
    )


@router.get("/ui/students")
def students(request: Request, session: ReadSessionDep, after: Annotated[str | None, Query(max_length=100)] = None) -> Response:
    found, has_more = student_lines(session, limit=PAGE, after=after)
    next_after = found[-1].name if has_more else None
    return page(request, "student_list.html", students=found, next_after=next_after, after=after)


def job_lines(session: Session, jobs: Sequence[Job]) -> list[JobOut]:
    # What earlier jobs took is asked only where something is left to estimate.
    history = stage_history(session) if any(job.status in OPEN_JOB for job in jobs) else {}
    return [job_out(job, history) for job in jobs]


def student_lines(session: Session, *, limit: int, after: str | None = None) -> tuple[list[StudentLine], bool]:
    """The last published first, and whether there are more. One manifest a name is read, however many versions it has.

    `after`: the name of the last one seen. Raises `ServiceError` 422 if there is none.
    """
    newest = select(Student.name, func.max(Student.id).label("id"), func.count().label("versions")).group_by(Student.name)
    if after is not None:
        last = session.scalar(select(func.max(Student.id)).where(Student.name == after)) if storable(after) else None
        if last is None:
            raise unknown_cursor(after)
        newest = newest.having(func.max(Student.id) < last)
    names = newest.order_by(func.max(Student.id).desc()).limit(limit + 1).subquery()
    serves = or_(Alias.version == Student.version, and_(Alias.version.is_(None), Student.id == names.c.id))
    query = (
        select(Student, names.c.versions)
        .join(names, names.c.name == Student.name)
        .outerjoin(Alias, and_(Alias.name == Student.name, Alias.alias == LATEST))
        .where(serves)
        .order_by(names.c.id.desc())
    )
    lines = [_line(student, versions) for student, versions in session.execute(query)]
    return lines[:limit], len(lines) > limit


def _line(student: Student, versions: int) -> StudentLine:
    manifest = student.manifest
    return StudentLine(
        name=student.name,
        version=student.version,
        versions=versions,
        kind=student.kind,
        accuracy=manifest["metrics"].get("accuracy"),
        bytes=manifest["bytes"],
        labels=len(manifest["labels"]),
        published_at=student.created_at,
    )
