"""What nobody looks after: stages of workers that died, and messages that were lost.

As in `lifecycle`, the caller commits.
"""

from collections import Counter
from collections.abc import Collection, Mapping
from datetime import datetime, timedelta

from sqlalchemy import and_, func, or_, select
from sqlalchemy.orm import Session

from app.contracts.stages import Stage, StageStatus
from app.jobs.fairness import may_run
from app.jobs.lifecycle import fail_stage, lock_job, lock_run, requeue
from app.ownership import every_project, in_project
from app.queue import messages_waiting, queue_of
from app.tables import StageRun, utcnow

_LOST_REMEDY = "See the worker's log (out of memory is the usual cause; a smaller batch_size needs less), then resume the job."


def sweep(
    session: Session,
    lost_after: timedelta,
    resend_after: timedelta,
    max_attempts: int,
    delay: timedelta = timedelta(0),
    complete: Collection[str] = (),
) -> int:
    """Takes stages from workers that died, and sends the messages of stages that nobody acted on, or whose delay is over.

    `delay`: before a stage is tried again. `complete`: queues that need no message again, see `complete_queues`. Returns the number of
    rows it mended.
    """
    now = utcnow()
    dead = and_(StageRun.status == StageStatus.RUNNING, StageRun.heartbeat_at < now - lost_after)
    due = and_(StageRun.status == StageStatus.QUEUED, StageRun.not_before <= now)
    incomplete = [stage for stage in Stage if queue_of(stage) not in complete]
    unheard = and_(*may_run(), StageRun.stage.in_(incomplete), StageRun.queued_at < now - resend_after)
    mended = 0
    # The jobs are locked in one order, and before the time of any stage is booked, so that no two sweepers or workers wait for each other.
    query = select(StageRun.id, StageRun.project_id, StageRun.job_id).where(or_(dead, due, unheard))
    with every_project():
        found = session.execute(query.order_by(StageRun.project_id, StageRun.job_id, StageRun.id)).all()
        for job_id in dict.fromkeys(job_id for _, _, job_id in found):
            lock_job(session, job_id)
    for run_id, project, _ in found:
        with in_project(project):
            if (held := lock_run(session, run_id)) is None:
                continue
            run = held[1]
            if run.status == StageStatus.RUNNING and run.heartbeat_at is not None and run.heartbeat_at < now - lost_after:
                silence = f"gave no sign of life for {lost_after.total_seconds():.0f} s in attempt {run.attempt}"
                error = {"type": "worker-lost", "detail": f"The worker {run.worker} {silence}.", "remedy": _LOST_REMEDY}
                mended += fail_stage(session, run_id, run.attempt, error, retry=True, max_attempts=max_attempts, delay=delay)
            elif run.status == StageStatus.QUEUED and _overdue(run, now, resend_after, complete):
                requeue(session, run)
                mended += 1
    return mended


@every_project()
def waiting_by_queue(session: Session) -> Counter[str]:
    """Stages and shards that wait for a worker, without those that wait for their time, or for another job of their project to end."""
    found: Counter[str] = Counter()
    for stage, count in session.execute(select(StageRun.stage, func.count()).where(*may_run()).group_by(StageRun.stage)):
        found[queue_of(Stage(stage))] += count
    return found


def complete_queues(waiting: Mapping[str, int]) -> set[str]:
    """Queues with a message for each that waits: their workers are busy, and nothing was lost. Sent again, messages would pile up."""
    return {queue for queue, count in waiting.items() if messages_waiting(queue) >= count}


def _overdue(run: StageRun, now: datetime, resend_after: timedelta, complete: Collection[str]) -> bool:
    if run.not_before is not None:
        return run.not_before <= now
    return run.queued_at is not None and run.queued_at < now - resend_after and queue_of(Stage(run.stage)) not in complete
