"""What may happen to a job and its stage runs. Pure database code, shared by the API and the workers.

Every function here but `heartbeat` locks the job's row first (SQLite: the transaction holds the one write lock), then touches its
stage runs. So two finishing stages cannot both miss their common successor, no order of locks can deadlock, and the ids of one job's
events are in the order of their commits, which lets a reader resume after an id. The caller commits.

A worker's hold on a stage run is the pair of its id and `attempt`: a function that is given an outdated attempt changes nothing.
An error is `{"type", "detail", "remedy"}`; the job's own error also names the `stage`.
"""

from collections.abc import Iterable
from datetime import timedelta
from typing import Any

from sqlalchemy import ColumnElement, case, delete, func, or_, select, update
from sqlalchemy.orm import Session

from app.contracts.comparison import Comparison, Promote
from app.contracts.stages import GRAPH, JobStatus, Stage, StageStatus
from app.jobs.aliases import LATEST
from app.jobs.fairness import fill_place
from app.jobs.promotion import promote
from app.jobs.versions import add_version
from app.outbox import announce
from app.queue import enqueue
from app.quotas import book
from app.tables import Event, Job, OpenAiJob, StageRun, Student, utcnow

OPEN_JOB = (JobStatus.QUEUED, JobStatus.RUNNING)
WAITING = (StageStatus.PENDING, StageStatus.QUEUED, StageStatus.SHARDED)


class JobStopped(Exception):
    """The job was cancelled or has failed; nothing more may come of it."""


def lock_job(session: Session, job_id: str) -> Job | None:
    """The job as committed last, its row locked until the transaction ends."""
    return session.scalar(select(Job).where(Job.id == job_id).with_for_update().execution_options(populate_existing=True))


def stage_runs(session: Session, job_id: str) -> list[StageRun]:
    """The job's stage runs as committed last, its stages in run order, the shards of each among them."""
    query = select(StageRun).where(StageRun.job_id == job_id).order_by(StageRun.id)
    return list(session.scalars(query.execution_options(populate_existing=True)))


def done_stages(runs: Iterable[StageRun]) -> set[Stage]:
    """Those that succeeded as a whole."""
    return {Stage(run.stage) for run in runs if not run.shard and run.status == StageStatus.SUCCEEDED}


def shards_of(run: StageRun) -> tuple[ColumnElement[bool], ...]:
    """What is true of the rows of the shards of a stage, and of no other row."""
    return StageRun.job_id == run.job_id, StageRun.stage == run.stage, StageRun.shard > 0


def record_event(session: Session, job_id: str, type: str, message: str, *, stage: str | None = None, **data: Any) -> None:
    """Adds an event, and tells webhooks. The caller holds the job's lock, which keeps ids in the order of commits."""
    session.add(Event(job_id=job_id, type=type, stage=stage, message=message, data=data))
    announce(session, job_id, type, stage, **data)


def claim(session: Session, stage_run_id: int, worker: str) -> StageRun | None:
    """Makes `worker` the owner of a queued stage run; None if it is not to be had (any more), or its job has ended."""
    if (held := lock_run(session, stage_run_id)) is None:
        return None
    job, queued = held
    if not _has_inputs(session, queued):
        _withdraw(session, queued)
        return None
    now = utcnow()
    changes = {
        "status": StageStatus.RUNNING,
        "attempt": StageRun.attempt + 1,
        "worker": worker,
        "claimed_at": now,
        "not_before": None,
        "heartbeat_at": now,
        "finished_at": None,
        "progress_done": 0.0,
        "progress_total": case((StageRun.shard > 0, StageRun.progress_total), else_=0.0),  # a shard's size is known
        "error": None,
    }
    open_job = select(Job.id).where(Job.status.in_(OPEN_JOB))
    due = or_(StageRun.not_before.is_(None), StageRun.not_before <= now)
    wanted = (StageRun.id == stage_run_id, StageRun.status == StageStatus.QUEUED, due, StageRun.job_id.in_(open_job))
    statement = update(StageRun).where(*wanted).values(changes).returning(StageRun.id)
    if session.scalar(statement, execution_options={"synchronize_session": False}) is None:
        return None
    run = session.get_one(StageRun, stage_run_id, populate_existing=True)
    is_first, job.status = job.status == JobStatus.QUEUED, JobStatus.RUNNING
    if is_first:
        announce(session, job.id, "job_started")
    first = session.scalar(select(func.min(StageRun.started_at)).where(*shards_of(run)))
    run.started_at = min(now, first) if first and not run.shard else now  # what its shards took is the stage's own
    record_event(
        session, job.id, "stage_started", f"{name_of(run)} started", stage=run.stage, shard=run.shard, attempt=run.attempt, worker=worker
    )
    session.flush()
    return run


def finish_stage(
    session: Session,
    run_id: int,
    attempt: int,
    *,
    artefact_key: str,
    reused: bool,
    metrics: dict[str, Any],
    warnings: list[str],
    peak_bytes: int | None = None,
    artefact_bytes: int | None = None,
) -> bool:
    """Marks a stage succeeded, queues the successors that waited for it alone, and ends the job after its last stage.

    After the last shard of a stage, the stage itself is queued, to put them together.

    False, with nothing changed, if the row is no longer running with that attempt.
    """
    if (held := take_back(session, run_id, attempt)) is None:
        return False
    job, run = held
    _end(run, StageStatus.SUCCEEDED)
    run.artefact_key, run.reused, run.metrics, run.error, run.peak_bytes = artefact_key, reused, metrics, None, peak_bytes
    run.artefact_bytes = artefact_bytes
    if not run.shard:  # put together, shards are of no use any more
        session.execute(update(StageRun).where(*shards_of(run)).values(artefact_key=None))
    job.warnings = [*job.warnings, *(warning for warning in dict.fromkeys(warnings) if warning not in job.warnings)]
    how = "reused" if reused else "succeeded"
    record_event(session, job.id, "stage_succeeded", f"{name_of(run)} {how}", stage=run.stage, shard=run.shard, reused=reused)
    session.flush()
    if job.status in OPEN_JOB:
        _advance(session, job)
    else:
        _settle_cancelled(session, job)
    return True


def fail_stage(
    session: Session,
    run_id: int,
    attempt: int,
    error: dict[str, Any],
    *,
    retry: bool,
    max_attempts: int,
    delay: timedelta = timedelta(0),
    shrink: bool = False,
) -> bool:
    """Queues the stage again (`retry`, and attempts are left), or fails it and its job. False if the row is no longer held.

    Tried again after `delay`, doubled with each attempt; with `shrink`, in batches half as large.
    """
    if (held := take_back(session, run_id, attempt)) is None:
        return False
    job, run = held
    if job.status == JobStatus.CANCELLED:
        _end(run, StageStatus.CANCELLED)
        _settle_cancelled(session, job)
        return True
    run.error = error
    if retry and attempt < max_attempts and job.status in OPEN_JOB:
        run.shrink *= 2 if shrink else 1
        requeue(session, run, delay * 2 ** (attempt - 1))
        message = f"{name_of(run)} is tried again: {error['detail']}"
        record_event(session, job.id, "stage_retried", message, stage=run.stage, shard=run.shard, attempt=attempt, error=error)
        return True
    _end(run, StageStatus.FAILED)
    if job.status in OPEN_JOB:  # else a sibling failed the job before
        whole = _whole(session, run)
        if whole is not run:
            _end(whole, StageStatus.FAILED)
            whole.error = error
        _cancel_waiting(session, job.id)
        job.status, job.finished_at, job.error = JobStatus.FAILED, utcnow(), {**error, "stage": run.stage}
        record_event(session, job.id, "job_failed", f"{name_of(run)} failed: {error['detail']}", stage=run.stage, error=error)
        fill_place(session, job)
    return True


def release_stage(session: Session, run_id: int, attempt: int) -> bool:
    """A worker that shuts down gives its stage back; the attempt does not count. False if the row is no longer held."""
    if (held := take_back(session, run_id, attempt)) is None:
        return False
    job, run = held
    if job.status not in OPEN_JOB:
        _end(run, StageStatus.CANCELLED)
        _settle_cancelled(session, job)
        return True
    run.attempt = attempt - 1
    requeue(session, run)
    message = f"{name_of(run)} was given back by a worker that stopped"
    record_event(session, job.id, "stage_released", message, stage=run.stage, shard=run.shard)
    return True


def cancel_running(session: Session, run_id: int, attempt: int) -> bool:
    """The worker noticed that its job is cancelled and has stopped. False if the row is no longer held."""
    if (held := take_back(session, run_id, attempt)) is None:
        return False
    job, run = held
    _end(run, StageStatus.CANCELLED)
    _settle_cancelled(session, job)
    return True


def heartbeat(session: Session, run_id: int, attempt: int, done: float, total: float, unit: str) -> bool:
    """Shows that the worker lives, and how far it is. False if it should stop: the row is not its own any more, or the job is cancelled.

    A `total` of 0 says that the stage does not know yet: what the row knows, as the size of a shard, stays.
    """
    cancelled = select(Job.id).where(Job.status == JobStatus.CANCELLED)
    owned = (StageRun.id == run_id, StageRun.status == StageStatus.RUNNING, StageRun.attempt == attempt)
    statement = (
        update(StageRun)
        .where(*owned, StageRun.job_id.not_in(cancelled))
        .values({"heartbeat_at": utcnow(), "unit": unit} | ({"progress_done": done, "progress_total": total} if total else {}))
        .returning(StageRun.id)
    )
    return session.scalar(statement, execution_options={"synchronize_session": False}) is not None


def publish_version(
    session: Session, job: Job, *, kind: str, artefact_key: str, manifest: dict[str, Any], comparison: Comparison | None = None
) -> Student:
    """Registers the job's student as the next version of its name, and moves `latest` to it as the job asks for.

    Call it before `finish_stage`, in one transaction. A job has one student: called again, it returns that one.
    Raises `JobStopped` if the job is not running any more, `ChampionMoved` if `comparison` is outdated.
    """
    locked = lock_job(session, job.id)
    if locked is None or locked.status != JobStatus.RUNNING:
        raise JobStopped(job.id)
    if (known := session.scalar(select(Student).where(Student.job_id == job.id))) is not None:
        return known
    student = add_version(session, job.name, job_id=job.id, kind=kind, artefact_key=artefact_key, manifest=manifest)
    said = f"published {job.name}:{student.version}"
    record_event(session, job.id, "student_published", said, name=job.name, version=student.version)
    _promote(session, locked, student, comparison)
    return student


def _promote(session: Session, job: Job, student: Student, comparison: Comparison | None) -> None:
    promotion = promote(session, job.name, student.version, comparison, Promote(job.promote), job.promote_reason)
    compared = comparison.model_dump(mode="json") if comparison else None
    student.promotion = {"moved": promotion.moved, "reason": promotion.reason, "comparison": compared}
    alias, new = f"{job.name}@{LATEST}", f"{job.name}:{student.version}"
    old = "" if promotion.before is None else f" from {job.name}:{promotion.before}"
    said = f"{alias} moved{old} to {new}" if promotion.moved else f"{alias} stays at {job.name}:{promotion.before}"
    type = "latest_moved" if promotion.moved else "latest_kept"
    data: dict[str, Any] = {
        "name": job.name,
        "version": student.version,
        "before": promotion.before,
        "reason": promotion.reason,
        "comparison": compared,
    }
    record_event(session, job.id, type, f"{said}: {promotion.reason}", **data)
    if not promotion.moved and job.promote == Promote.IF_NOT_WORSE:
        call = f'PUT /students/{job.name}/aliases/{LATEST} {{"version": {student.version}}}'
        remedy = f"`gendistil alias {job.name} {LATEST} {student.version}`, or {call}, serves it all the same"
        job.warnings = [*job.warnings, f"{said}, as {new} is {promotion.reason}; {remedy}."]


def cancel_job(session: Session, job: Job) -> None:
    """Cancels an open job whose lock the caller holds. Running stages are noticed by their workers, through `heartbeat`."""
    _cancel_waiting(session, job.id)
    job.status = JobStatus.CANCELLED
    record_event(session, job.id, "job_cancelling", "cancellation requested")
    fill_place(session, job)
    _settle_cancelled(session, job)


def resume_job(session: Session, job: Job) -> None:
    """Puts a failed or cancelled job back to work. The caller holds its lock and has seen that none of its stages runs."""
    # Shards that are done are found again by their content.
    session.execute(delete(StageRun).where(StageRun.job_id == job.id, StageRun.shard > 0))
    runs = stage_runs(session, job.id)
    done = done_stages(runs)
    for run in runs:
        if run.status == StageStatus.SUCCEEDED:
            continue
        run.attempt, run.progress_done, run.progress_total = 0, 0.0, 0.0
        run.error = run.worker = run.queued_at = run.not_before = run.started_at = run.heartbeat_at = run.finished_at = None
        run.status = StageStatus.PENDING
        if set(GRAPH[Stage(run.stage)].after) <= done:
            requeue(session, run)
    job.status, job.error, job.finished_at = JobStatus.QUEUED, None, None
    session.execute(update(OpenAiJob).where(OpenAiJob.job_id == job.id).values(paused=False))
    record_event(session, job.id, "job_resumed", "resumed after the last finished stage")


def lock_run(session: Session, run_id: int) -> tuple[Job, StageRun] | None:
    """The stage run as committed last, and its job, whose row is locked until the transaction ends."""
    job_id = session.scalar(select(StageRun.job_id).where(StageRun.id == run_id))
    if job_id is None or (job := lock_job(session, job_id)) is None:
        return None
    return job, session.get_one(StageRun, run_id, populate_existing=True)


def take_back(session: Session, run_id: int, attempt: int) -> tuple[Job, StageRun] | None:
    """The job, locked, and the stage run, if that attempt still holds it, for a caller that ends the attempt: its time is booked."""
    held = lock_run(session, run_id)
    if held is None or held[1].status != StageStatus.RUNNING or held[1].attempt != attempt:
        return None
    book(session, held[1])
    return held


def _end(run: StageRun, status: StageStatus) -> None:
    run.status, run.finished_at = status, utcnow()


def requeue(session: Session, run: StageRun, delay: timedelta = timedelta(0)) -> None:
    """Makes the stage free for any worker. After a `delay` it is the sweeper that sends the message: Redis may lose what waits there."""
    run.status, run.queued_at, run.not_before = StageStatus.QUEUED, utcnow(), utcnow() + delay if delay else None
    if not delay:
        enqueue(session, run.id, Stage(run.stage))


def name_of(run: StageRun) -> str:
    return f"{run.stage} (shard {run.shard})" if run.shard else run.stage


def _has_inputs(session: Session, run: StageRun) -> bool:
    """False while an earlier stage, whose artefact was damaged, is made again."""
    return set(GRAPH[Stage(run.stage)].after) <= done_stages(stage_runs(session, run.job_id))


def _withdraw(session: Session, run: StageRun) -> None:
    """Once its inputs are there again, the stage is queued with them, and queues those of its shards that are missing."""
    if run.status == StageStatus.QUEUED and run.shard:
        session.delete(run)
    elif run.status == StageStatus.QUEUED:
        run.status = StageStatus.PENDING


def _whole(session: Session, run: StageRun) -> StageRun:
    """The stage itself, of one of its shards."""
    if not run.shard:
        return run
    query = select(StageRun).where(StageRun.job_id == run.job_id, StageRun.stage == run.stage, StageRun.shard == 0)
    return session.scalars(query.execution_options(populate_existing=True)).one()


def _advance(session: Session, job: Job) -> None:
    runs = stage_runs(session, job.id)
    stages = [run for run in runs if not run.shard]
    done = done_stages(runs)
    if len(done) == len(stages):
        job.status, job.finished_at = JobStatus.SUCCEEDED, utcnow()
        record_event(session, job.id, "job_succeeded", "all stages succeeded")
        fill_place(session, job)
        return
    busy = {run.stage for run in runs if run.shard and run.status != StageStatus.SUCCEEDED}
    for run in stages:
        waited = run.status == StageStatus.PENDING and set(GRAPH[Stage(run.stage)].after) <= done
        if waited or (run.status == StageStatus.SHARDED and run.stage not in busy):
            requeue(session, run)


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
