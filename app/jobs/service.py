"""Jobs for callers: create, list, cancel, resume. The transitions themselves are in `lifecycle`."""

import secrets

from sqlalchemy import Select, func, or_, select
from sqlalchemy.orm import Session, selectinload

from app.audit import record
from app.contracts.comparison import Promote
from app.contracts.spec import JobSpec
from app.contracts.stages import GRAPH, JobStatus, Stage, StageStatus
from app.errors import FieldError, ServiceError, not_found
from app.jobs.lifecycle import OPEN_JOB, cancel_job, lock_job, record_event, resume_job, stage_runs
from app.jobs.row_removal import RowRemoval, check_rows_there
from app.lookups import newest_first, storable
from app.queue import enqueue
from app.quotas import check_job
from app.tables import Dataset, Job, StageRun, Student, utcnow

_TAKEN_REMEDY = 'Choose another name, or send "replace_dataset": true to publish the new dataset\'s student under this one.'


def create_job(
    session: Session,
    *,
    name: str,
    dataset: Dataset,
    preset: str,
    spec: JobSpec,
    replace_dataset: bool,
    promote: Promote = Promote.IF_NOT_WORSE,
    promote_reason: str | None = None,
) -> Job:
    """Inserts the job with all its stage runs, and notes the messages for those that wait for nothing.

    Raises `ServiceError`: 409 if the name belongs to another dataset and `replace_dataset` is not set, or the rows were removed; 429 and
    403 if the project may not have another job.
    """
    check_rows_there(dataset)
    check_job(session)
    if not replace_dataset:
        check_name(session, name, dataset.content_hash)
    now = utcnow()
    job = Job(
        id=f"job_{secrets.token_hex(8)}",
        name=name,
        dataset_id=dataset.id,
        preset=preset,
        spec=spec.model_dump(mode="json"),
        status=JobStatus.QUEUED,
        warnings=list(dataset.warnings),
        promote=promote,
        promote_reason=promote_reason,
        rows_removal=None if spec.privacy.keep_rows else RowRemoval.DUE,
        created_at=now,
    )
    session.add(job)
    session.flush()
    for stage, node in GRAPH.items():
        status = StageStatus.PENDING if node.after else StageStatus.QUEUED
        run = StageRun(job_id=job.id, stage=stage, status=status, unit=node.unit, queued_at=None if node.after else now)
        session.add(run)
        session.flush()  # one at a time: the order of the ids is the run order
        if not node.after:
            enqueue(session, run.id, stage)
    record_event(session, job.id, "job_queued", f"{name} queued", dataset_id=dataset.id, preset=preset)
    session.flush()
    return get_job(session, job.id)


def get_job(session: Session, job_id: str) -> Job:
    """With its stages, student and dataset loaded. Raises `ServiceError` 404."""
    query = _loaded(select(Job).where(Job.id == job_id)).execution_options(populate_existing=True)
    job = session.scalar(query) if storable(job_id) else None
    if job is None:
        raise not_found("job", job_id[:60], "GET /jobs lists them.")
    return job


def list_jobs(session: Session, *, limit: int, after: str | None, status: JobStatus | None, name: str | None) -> tuple[list[Job], bool]:
    """Newest first, and whether there are more. Raises `ServiceError` 422 for an unknown `after`."""
    query = _loaded(select(Job))
    if status is not None:
        query = query.where(Job.status == status)
    if name is not None:
        if not storable(name):
            return [], False
        query = query.where(Job.name == name)
    return newest_first(session, query, Job, limit=limit, after=after)


def cancel(session: Session, job_id: str) -> Job:
    """Cancelling a cancelled job changes nothing. Raises `ServiceError` 404, or 409 if it succeeded or failed before."""
    job = _locked(session, job_id)
    if job.status in OPEN_JOB:
        cancel_job(session, job)
        record(session, "job.cancelled", job.id)
    elif job.status != JobStatus.CANCELLED:
        raise ServiceError(409, "job-finished", f"The job has {job.status} already.", remedy="There is nothing left to cancel.")
    session.flush()
    return get_job(session, job_id)


def resume(session: Session, job_id: str) -> Job:
    """Raises `ServiceError`: 404; 409 unless the job has failed or was cancelled, nothing of it runs, and its name is still free; 429 and
    403 if the project may not have another job.
    """
    job = _locked(session, job_id)
    if job.status in OPEN_JOB or job.status == JobStatus.SUCCEEDED:
        detail = f"The job is {job.status}; only a failed or cancelled job can be resumed."
        remedy = "Wait for it." if job.status in OPEN_JOB else "POST /jobs starts a new one."
        raise ServiceError(409, "job-not-resumable", detail, remedy=remedy)
    running = [run.stage for run in stage_runs(session, job.id) if run.status == StageStatus.RUNNING]
    if running:
        detail = f"The job's {running[0]} is still running and is being stopped."
        raise ServiceError(409, "job-stopping", detail, remedy="Try again in a few seconds.", headers={"Retry-After": "5"})
    check_job(session)
    check_name(session, job.name, session.get_one(Dataset, job.dataset_id).content_hash, resumed=job)
    resume_job(session, job)
    record(session, "job.resumed", job.id)
    session.flush()
    return get_job(session, job_id)


def artefact_of(job: Job, stage: Stage) -> str | None:
    """Key of what the stage made, once it has succeeded."""
    return next((run.artefact_key for run in job.stages if run.stage == stage and run.status == StageStatus.SUCCEEDED), None)


def _loaded(query: Select[Job]) -> Select[Job]:
    return query.options(selectinload(Job.stages), selectinload(Job.shards), selectinload(Job.student), selectinload(Job.dataset))


def _locked(session: Session, job_id: str) -> Job:
    job = lock_job(session, job_id) if storable(job_id) else None
    if job is None:
        raise not_found("job", job_id[:60], "GET /jobs lists them.")
    return job


def check_name(session: Session, name: str, content_hash: str, resumed: Job | None = None) -> None:
    """Raises `ServiceError` 409 if the name belongs to other rows: those of its newest student and of its unfinished jobs.

    For a job that is resumed only what came after it counts: what came before was weighed when it was posted.
    """
    if session.get_bind().dialect.name == "postgresql":  # SQLite has one writer at a time
        session.execute(select(func.pg_advisory_xact_lock(func.hashtext(name))))
    query = (
        select(Job, Student.version)
        .outerjoin(Student, Student.job_id == Job.id)
        .where(Job.name == name, or_(Job.status.in_(OPEN_JOB), Student.id.is_not(None)))
        .order_by(Job.created_at.desc())
        .options(selectinload(Job.dataset))
    )
    if resumed is not None:
        query = query.where(Job.created_at > resumed.created_at)
    seen_student = False
    for job, version in session.execute(query):
        holds = version is None or not seen_student
        seen_student = seen_student or version is not None
        if holds and job.dataset.content_hash != content_hash:
            holder = f"the student {name}:{version}" if version else f"the unfinished job {job.id}"
            detail = f"The name {name!r} is taken by {holder}, of another dataset ({job.dataset_id})."
            errors = [FieldError(column="name", detail=detail, remedy=_TAKEN_REMEDY)]
            raise ServiceError(409, "name-taken", detail, remedy=_TAKEN_REMEDY, errors=errors)
