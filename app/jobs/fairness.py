"""Whose turn it is. A message says only that something waits in its queue; what its worker then does is settled here.

The project with the fewest runs at work comes first, of equals the one that was served longest ago; within it, the oldest. So each
project gets on, however many jobs another has, and its first job ends before its last begins.
"""

from collections.abc import Collection
from typing import Any

from sqlalchemy import ColumnElement, Select, func, select
from sqlalchemy.orm import Session, aliased

from app.contracts.stages import JobStatus, Stage, StageStatus
from app.ownership import every_project
from app.queue import enqueue
from app.tables import BulkPrediction, Job, Project, StageRun

_AT_WORK = StageStatus.RUNNING
"""And as bulk predictions say it."""


@every_project()
def next_run(session: Session, stages: Collection[Stage]) -> tuple[int, str] | None:
    """Of the stage runs of `stages` that wait: the id of the one whose turn it is, and its project. Claim it in the same transaction."""
    waiting = select(StageRun.id, StageRun.project_id).join(Job, Job.id == StageRun.job_id)
    waiting = waiting.where(StageRun.stage.in_(stages), Job.status.in_((JobStatus.QUEUED, JobStatus.RUNNING)), *may_run())
    return first_in_turn(session, StageRun, waiting, (Job.created_at, StageRun.id))


def may_run() -> tuple[ColumnElement[bool], ...]:
    """Of stage runs: they are queued, their message was sent, and their jobs may begin or have begun."""
    # A retry whose time has come waits for the sweeper's message, else it would use up that of another.
    return StageRun.status == StageStatus.QUEUED, StageRun.not_before.is_(None), StageRun.job_id.not_in(_held_jobs())


def first_in_turn(
    session: Session, table: type[StageRun] | type[BulkPrediction], waiting: Select[Any, str], oldest: tuple[Any, ...]
) -> tuple[Any, str] | None:
    """The id and project of the row whose turn it is. `waiting`: these two of the rows that there are; `oldest`: what orders a project's.

    From here to the end of the transaction no other worker chooses from the table: else two would see the same figures, and take from
    the same project.
    """
    if session.get_bind().dialect.name == "postgresql":  # SQLite has one writer at a time
        session.execute(select(func.pg_advisory_xact_lock(func.hashtext(table.__tablename__), 0)))
    place = func.row_number().over(partition_by=table.project_id, order_by=oldest)
    first = waiting.add_columns(place.label("place")).subquery()
    other = aliased(table)
    its = other.project_id == first.c.project_id
    at_work = select(func.count()).select_from(other).where(its, other.status == _AT_WORK).scalar_subquery()
    served = select(func.max(other.started_at)).where(its).scalar_subquery()
    query = select(first.c.id, first.c.project_id).where(first.c.place == 1).order_by(at_work, served.nulls_first(), first.c.id)
    chosen = session.execute(query.limit(1)).one_or_none()
    return None if chosen is None else (chosen.id, chosen.project_id)


def fill_place(session: Session, job: Job) -> None:
    """After a job has ended: sends messages for the one that may begin in its place, whose own may have come while it might not."""
    most = session.scalar(select(Project.jobs_running).where(Project.id == job.project_id))
    if most is None:
        return
    running = select(func.count()).select_from(Job).where(Job.project_id == job.project_id, Job.status == JobStatus.RUNNING)
    places = most - (session.scalar(running) or 0)
    if places < 1:
        return
    waiting = select(Job.id).where(Job.project_id == job.project_id, Job.status == JobStatus.QUEUED).order_by(Job.created_at, Job.id)
    next_job = waiting.offset(places - 1).limit(1).scalar_subquery()
    for run in session.scalars(select(StageRun).where(StageRun.job_id == next_job, StageRun.status == StageStatus.QUEUED)):
        enqueue(session, run.id, Stage(run.stage))


def _held_jobs() -> Select[str]:
    """Ids of the queued jobs for which their projects' `jobs_running` leaves no place. The oldest are given the places first."""
    other = aliased(Job)
    running = (
        select(other.project_id, func.count().label("jobs")).where(other.status == JobStatus.RUNNING).group_by(other.project_id).subquery()
    )
    place = func.row_number().over(partition_by=Job.project_id, order_by=(Job.created_at, Job.id))
    places = Project.jobs_running - func.coalesce(running.c.jobs, 0)
    queued = (
        select(Job.id, place.label("place"), places.label("places"))
        .join(Project, Project.id == Job.project_id)
        .outerjoin(running, running.c.project_id == Job.project_id)
        .where(Job.status == JobStatus.QUEUED, Project.jobs_running.is_not(None))
        .subquery()
    )
    return select(queued.c.id).where(queued.c.place > queued.c.places)
