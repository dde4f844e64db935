"""A stage in several parts, and a stage made again: transitions that reach over more than one stage run.

As in `lifecycle`, the caller commits.
"""

from collections.abc import Collection, Mapping
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.contracts.stages import GRAPH, Stage, StageStatus
from app.jobs.lifecycle import OPEN_JOB, done_stages, fail_stage, record_event, requeue, shards_of, stage_runs, take_back
from app.tables import StageRun


def shard_stage(session: Session, run_id: int, attempt: int, shards: Mapping[int, float], of: int) -> bool:
    """Queues `shards`, number (from 1) to size in the stage's unit, of a stage in `of` parts; the stage waits for all of them.

    The attempt does not count. A shard that was made before and is lost is queued again. False if the row is no longer held.
    """
    if (held := take_back(session, run_id, attempt)) is None:
        return False
    job, run = held
    query = select(StageRun).where(*shards_of(run)).execution_options(populate_existing=True)
    known = {shard.shard: shard for shard in session.scalars(query)}
    run.status, run.attempt, run.worker = StageStatus.SHARDED, attempt - 1, None
    for number, size in sorted(shards.items()):
        shard = known.get(number)
        if shard is None:
            shard = StageRun(job_id=job.id, stage=run.stage, shard=number, status=StageStatus.QUEUED, unit=run.unit)
            session.add(shard)
            session.flush()
        elif shard.status in {StageStatus.RUNNING, StageStatus.QUEUED}:
            continue
        shard.attempt, shard.artefact_key, shard.finished_at = 0, None, None
        shard.progress_done, shard.progress_total = 0.0, size
        requeue(session, shard)
    record_event(session, job.id, "stage_sharded", f"{run.stage} in {of} shards, {len(shards)} to do", stage=run.stage, shards=of)
    return True


def rebuild(session: Session, run_id: int, attempt: int, lost: Collection[Stage], error: dict[str, Any], max_attempts: int) -> bool:
    """The artefacts of the stages `lost` are gone or damaged: they are made anew, and the stage that found out waits for them.

    The attempt counts; after the last one the job fails with `error`, so that a store which damages everything does not keep it busy for
    ever. False if the row is no longer held.
    """
    if (held := take_back(session, run_id, attempt)) is None:
        return False
    job, run = held
    runs = stage_runs(session, job.id)
    whole = next(other for other in runs if other.stage == run.stage and not other.shard)
    used = whole.attempt + 1 if run.shard else attempt
    if used >= max_attempts or job.status not in OPEN_JOB:
        return fail_stage(session, run_id, attempt, error, retry=False, max_attempts=max_attempts)
    if run.shard:  # its fellows find out for themselves; planned anew, the stage queues what is missing
        session.delete(run)
    whole.status, whole.worker, whole.attempt = StageStatus.PENDING, None, used
    for other in runs:
        if other.shard:
            continue
        if other.stage in lost and other.status == StageStatus.SUCCEEDED:
            other.artefact_key, other.attempt, other.reused = None, 0, False
            other.status = StageStatus.PENDING
    names = ", ".join(lost)
    record_event(
        session, job.id, "stage_rebuilt", f"{names} made again: {run.stage} found it damaged or gone", stage=run.stage, lost=list(lost)
    )
    session.flush()
    done = done_stages(runs)
    for other in runs:
        if not other.shard and other.stage in lost and set(GRAPH[Stage(other.stage)].after) <= done:
            requeue(session, other)
    return True
