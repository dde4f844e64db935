"""What may happen to a job and its stage runs. Pure database code, shared by the API and the workers.

Every function here but `heartbeat` locks the job's row first (SQLite: the transaction holds the one write lock), then touches its
stage runs. So two finishing stages cannot both miss their common successor, no order of locks can deadlock, and the ids of one job's
events are in the order of their commits, which lets a reader resume after an id. The caller commits.

A worker's hold on a stage run is the pair of its id and `attempt`: a function that is given an outdated attempt changes nothing.
An error is `{"type", "detail", "remedy"}`; the job's own error also names the `stage`.
"""

from contextlib import suppress
from datetime import timedelta
from typing import Any

from sqlalchemy import and_, func, or_, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from app.contracts.stages import GRAPH, JobStatus, Stage, StageStatus
from app.queue import enqueue
from app.tables import Alias, Event, Job, StageRun, Student, utcnow

OPEN_JOB = (JobStatus.QUEUED, JobStatus.RUNNING)
WAITING = (StageStatus.PENDING, StageStatus.QUEUED)
LATEST = "latest"
_LOST_REMEDY = "See the worker's log (out of memory is the usual cause; a smaller batch_size needs less), then resume the job."


class JobStopped(Exception):
    """The job was cancelled or has failed; nothing more may come of it."""


def lock_job(session: Session, job_id: str) -> Job | None:
    """The job as committed last, its row locked until the transaction ends."""
    return session.scalar(select(Job).where(Job.id == job_id).with_for_update().execution_options(populate_existing=True))


def stage_runs(session: Session, job_id: str) -> list[StageRun]:
    """The job's stage runs as committed last, in run order."""
    query = select(StageRun).where(StageRun.job_id == job_id).order_by(StageRun.id)
    return list(session.scalars(query.execution_options(populate_existing=True)))


def record_event(session: Session, job_id: str, type: str, message: str, *, stage: str | None = None, **data: Any) -> None:
    """Adds an event. The caller holds the job's lock, which keeps ids in the order of commits."""
    session.add(Event(job_id=job_id, type=type, stage=stage, message=message, data=data))


def claim(session: Session, stage_run_id: int, worker: str) -> StageRun | None:
    """Makes `worker` the owner of a queued stage run; None if it is not to be had (any more), or its job has ended."""
    if (held := _lock(session, stage_run_id)) is None:
        return None
    job, _ = held
    now = utcnow()
    changes = {
        "status": StageStatus.RUNNING,
        "attempt": StageRun.attempt + 1,
        "worker": worker,
        "started_at": now,
        "heartbeat_at": now,
        "finished_at": None,
        "progress_done": 0.0,
        "progress_total": 0.0,
        "error": None,
    }
    open_job = select(Job.id).where(Job.status.in_(OPEN_JOB))
    wanted = (StageRun.id == stage_run_id, StageRun.status == StageStatus.QUEUED, StageRun.job_id.in_(open_job))
    statement = update(StageRun).where(*wanted).values(changes).returning(StageRun.id)
    if session.scalar(statement, execution_options={"synchronize_session": False}) is None:
        return None
    run = session.get_one(StageRun, stage_run_id, populate_existing=True)
    job.status = JobStatus.RUNNING
    record_event(session, job.id, "stage_started", f"{run.stage} started", stage=run.stage, attempt=run.attempt, worker=worker)
    session.flush()
    return run


def finish_stage(
    session: Session, run_id: int, attempt: int, *, artefact_key: str, reused: bool, metrics: dict[str, Any], warnings: list[str]
) -> bool:
    """Marks a stage succeeded, queues the successors that waited for it alone, and ends the job after its last stage.

    False, with nothing changed, if the row is no longer running with that attempt.
    """
    if (held := _owned(session, run_id, attempt)) is None:
        return False
    job, run = held
    _end(run, StageStatus.SUCCEEDED)
    run.artefact_key, run.reused, run.metrics, run.error = artefact_key, reused, metrics, None
    job.warnings = [*job.warnings, *(warning for warning in dict.fromkeys(warnings) if warning not in job.warnings)]
    record_event(session, job.id, "stage_succeeded", f"{run.stage} {'reused' if reused else 'succeeded'}", stage=run.stage, reused=reused)
    session.flush()
    if job.status in OPEN_JOB:
        _advance(session, job)
    else:
        _settle_cancelled(session, job)
    return True


def fail_stage(session: Session, run_id: int, attempt: int, error: dict[str, Any], *, retry: bool, max_attempts: int) -> bool:
    """Queues the stage again (`retry`, and attempts are left), or fails it and its job. False if the row is no longer held."""
    if (held := _owned(session, run_id, attempt)) is None:
        return False
    job, run = held
    if job.status == JobStatus.CANCELLED:
        _end(run, StageStatus.CANCELLED)
        _settle_cancelled(session, job)
        return True
    run.error = error
    if retry and attempt < max_attempts and job.status in OPEN_JOB:
        _requeue(session, run)
        message = f"{run.stage} is tried again: {error['detail']}"
        record_event(session, job.id, "stage_retried", message, stage=run.stage, attempt=attempt, error=error)
        return True
    _end(run, StageStatus.FAILED)
    if job.status in OPEN_JOB:  # else a sibling failed the job before
        _cancel_waiting(session, job.id)
        job.status, job.finished_at, job.error = JobStatus.FAILED, utcnow(), {**error, "stage": run.stage}
        record_event(session, job.id, "job_failed", f"{run.stage} failed: {error['detail']}", stage=run.stage, error=error)
    return True


def release_stage(session: Session, run_id: int, attempt: int) -> bool:
    """A worker that shuts down gives its stage back; the attempt does not count. False if the row is no longer held."""
    if (held := _owned(session, run_id, attempt)) is None:
        return False
    job, run = held
    if job.status not in OPEN_JOB:
        _end(run, StageStatus.CANCELLED)
        _settle_cancelled(session, job)
        return True
    run.attempt = attempt - 1
    _requeue(session, run)
    record_event(session, job.id, "stage_released", f"{run.stage} was given back by a worker that stopped", stage=run.stage)
    return True


def cancel_running(session: Session, run_id: int, attempt: int) -> bool:
    """The worker noticed that its job is cancelled and has stopped. False if the row is no longer held."""
    if (held := _owned(session, run_id, attempt)) is None:
        return False
    job, run = held
    _end(run, StageStatus.CANCELLED)
    _settle_cancelled(session, job)
    return True


def heartbeat(session: Session, run_id: int, attempt: int, done: float, total: float, unit: str) -> bool:
    """Shows that the worker lives, and how far it is. False if it should stop: the row is not its own any more, or the job is cancelled."""
    cancelled = select(Job.id).where(Job.status == JobStatus.CANCELLED)
    owned = (StageRun.id == run_id, StageRun.status == StageStatus.RUNNING, StageRun.attempt == attempt)
    statement = (
        update(StageRun)
        .where(*owned, StageRun.job_id.not_in(cancelled))
        .values(heartbeat_at=utcnow(), progress_done=done, progress_total=total, unit=unit)
        .returning(StageRun.id)
    )
    return session.scalar(statement, execution_options={"synchronize_session": False}) is not None


def sweep(session: Session, lost_after: timedelta, resend_after: timedelta, max_attempts: int) -> int:
    """Takes stages from workers that died, and sends messages again that nobody acted on. Returns the number of rows it mended."""
    now = utcnow()
    dead = and_(StageRun.status == StageStatus.RUNNING, StageRun.heartbeat_at < now - lost_after)
    idle = and_(StageRun.status == StageStatus.QUEUED, StageRun.queued_at < now - resend_after)
    mended = 0
    # Sorted by job, so that two sweepers lock the jobs in one order.
    for run_id in session.scalars(select(StageRun.id).where(or_(dead, idle)).order_by(StageRun.job_id, StageRun.id)).all():
        if (held := _lock(session, run_id)) is None:
            continue
        run = held[1]
        if run.status == StageStatus.RUNNING and run.heartbeat_at is not None and run.heartbeat_at < now - lost_after:
            silence = f"gave no sign of life for {lost_after.total_seconds():.0f} s in attempt {run.attempt}"
            error = {"type": "worker-lost", "detail": f"The worker {run.worker} {silence}.", "remedy": _LOST_REMEDY}
            mended += fail_stage(session, run_id, run.attempt, error, retry=True, max_attempts=max_attempts)
        elif run.status == StageStatus.QUEUED and run.queued_at is not None and run.queued_at < now - resend_after:
            _requeue(session, run)
            mended += 1
    return mended


def publish_version(session: Session, job: Job, *, kind: str, artefact_key: str, manifest: dict[str, Any]) -> Student:
    """Registers the job's student as the next version of its name, and moves `latest` to it.

    Call it before `finish_stage`, in one transaction. A job has one student: called again, it returns that one.
    Raises `JobStopped` if the job is not running any more.
    """
    locked = lock_job(session, job.id)
    if locked is None or locked.status != JobStatus.RUNNING:
        raise JobStopped(job.id)
    if (known := session.scalar(select(Student).where(Student.job_id == job.id))) is not None:
        return known
    while True:
        version = (session.scalar(select(func.max(Student.version)).where(Student.name == job.name)) or 0) + 1
        student = Student(name=job.name, version=version, job_id=job.id, kind=kind, artefact_key=artefact_key, manifest=manifest)
        try:
            with session.begin_nested():
                session.add(student)
        except IntegrityError:  # another job of this name took the version
            continue
        break
    set_alias(session, job.name, LATEST, version)
    record_event(session, job.id, "student_published", f"published {job.name}:{version}", name=job.name, version=version)
    return student


def set_alias(session: Session, name: str, alias: str, version: int) -> Alias:
    """Points `name@alias` to a version that exists."""
    moved = update(Alias).where(Alias.name == name, Alias.alias == alias).values(version=version, updated_at=utcnow()).returning(Alias)
    while (row := session.scalar(moved, execution_options={"populate_existing": True})) is None:
        # Another transaction may create the alias between the two statements; then the UPDATE finds it.
        with suppress(IntegrityError), session.begin_nested():
            session.add(Alias(name=name, alias=alias, version=version))
    return row


def cancel_job(session: Session, job: Job) -> None:
    """Cancels an open job whose lock the caller holds. Running stages are noticed by their workers, through `heartbeat`."""
    _cancel_waiting(session, job.id)
    job.status = JobStatus.CANCELLED
    record_event(session, job.id, "job_cancelling", "cancellation requested")
    _settle_cancelled(session, job)


def resume_job(session: Session, job: Job) -> None:
    """Puts a failed or cancelled job back to work. The caller holds its lock and has seen that none of its stages runs."""
    runs = stage_runs(session, job.id)
    done = {Stage(run.stage) for run in runs if run.status == StageStatus.SUCCEEDED}
    for run in runs:
        if run.status == StageStatus.SUCCEEDED:
            continue
        run.attempt, run.progress_done, run.progress_total = 0, 0.0, 0.0
        run.error = run.worker = run.queued_at = run.started_at = run.heartbeat_at = run.finished_at = None
        run.status = StageStatus.PENDING
        if set(GRAPH[Stage(run.stage)].after) <= done:
            _requeue(session, run)
    job.status, job.error, job.finished_at = JobStatus.QUEUED, None, None
    record_event(session, job.id, "job_resumed", "resumed after the last finished stage")


def _lock(session: Session, run_id: int) -> tuple[Job, StageRun] | None:
    job_id = session.scalar(select(StageRun.job_id).where(StageRun.id == run_id))
    if job_id is None or (job := lock_job(session, job_id)) is None:
        return None
    return job, session.get_one(StageRun, run_id, populate_existing=True)


def _owned(session: Session, run_id: int, attempt: int) -> tuple[Job, StageRun] | None:
    held = _lock(session, run_id)
    return held if held and held[1].status == StageStatus.RUNNING and held[1].attempt == attempt else None


def _end(run: StageRun, status: StageStatus) -> None:
    run.status, run.finished_at = status, utcnow()


def _requeue(session: Session, run: StageRun) -> None:
    run.status, run.queued_at = StageStatus.QUEUED, utcnow()
    enqueue(session, run.id, GRAPH[Stage(run.stage)].queue)


def _advance(session: Session, job: Job) -> None:
    runs = stage_runs(session, job.id)
    done = {Stage(run.stage) for run in runs if run.status == StageStatus.SUCCEEDED}
    if len(done) == len(runs):
        job.status, job.finished_at = JobStatus.SUCCEEDED, utcnow()
        record_event(session, job.id, "job_succeeded", "all stages succeeded")
        return
    for run in runs:
        if run.status == StageStatus.PENDING and set(GRAPH[Stage(run.stage)].after) <= done:
            _requeue(session, run)


def _cancel_waiting(session: Session, job_id: str) -> None:
    for run in stage_runs(session, job_id):
        if run.status in WAITING:
            _end(run, StageStatus.CANCELLED)


def _settle_cancelled(session: Session, job: Job) -> None:
    """A cancelled job has ended once none of its stages runs."""
    running = any(run.status == StageStatus.RUNNING for run in stage_runs(session, job.id))
    if job.status == JobStatus.CANCELLED and job.finished_at is None and not running:
        job.finished_at = utcnow()
        record_event(session, job.id, "job_cancelled", "cancelled")
