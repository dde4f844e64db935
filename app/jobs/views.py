"""A job's rows as callers see them."""

from collections.abc import Mapping
from datetime import datetime

from pydantic import ValidationError
from sqlalchemy import select
from sqlalchemy.orm import Session, selectinload

from app.contracts.comparison import Promote
from app.contracts.estimates import DataFigures, StageFigures, eta_seconds, prior_seconds
from app.contracts.spec import JobSpec
from app.contracts.stages import JobStatus, Stage, StageStatus
from app.jobs.schemas import ErrorInfo, JobOut, Progress, ShardsOut, StageOut, StudentRef
from app.tables import Dataset, Job, StageRun, utcnow

HISTORY_JOBS = 5


def job_out(job: Job, history: Mapping[Stage, float], now: datetime | None = None) -> JobOut:
    """`history`: what `stage_history` gives."""
    now = now or utcnow()
    return JobOut(
        id=job.id,
        name=job.name,
        status=JobStatus(job.status),
        stages=[_stage_out(run, _shards(job, run), now) for run in job.stages],
        eta_seconds=_eta(job, history, now),
        student=StudentRef(name=job.student.name, version=job.student.version) if job.student else None,
        error=ErrorInfo.model_validate(job.error) if job.error else None,
        warnings=job.warnings,
        dataset_id=job.dataset_id,
        preset=job.preset,
        spec=job.spec,
        promote=Promote(job.promote),
        promote_reason=job.promote_reason,
        created_at=job.created_at,
        finished_at=job.finished_at,
    )


def stage_history(session: Session) -> dict[Stage, float]:
    """Observed over prior seconds of each stage, averaged over the last jobs that succeeded."""
    query = select(Job).where(Job.status == JobStatus.SUCCEEDED).order_by(Job.created_at.desc()).limit(HISTORY_JOBS)
    ratios: dict[Stage, list[float]] = {}
    for job in session.scalars(query.options(selectinload(Job.stages), selectinload(Job.dataset))):
        priors = _priors(job)
        for run in job.stages if priors else []:
            if not run.reused and run.started_at and run.finished_at:
                stage = Stage(run.stage)
                ratios.setdefault(stage, []).append((run.finished_at - run.started_at).total_seconds() / priors[stage])
    return {stage: sum(found) / len(found) for stage, found in ratios.items()}


def _shards(job: Job, run: StageRun) -> list[StageRun]:
    return [shard for shard in job.shards if shard.stage == run.stage]


def _stage_out(run: StageRun, shards: list[StageRun], now: datetime) -> StageOut:
    done, total = _progress(run, shards)
    return StageOut(
        name=run.stage,
        # To a caller a stage runs as long as any part of it is at work, or waits for a worker between two parts.
        status=StageStatus.RUNNING if run.status == StageStatus.SHARDED else StageStatus(run.status),
        progress=Progress(done=done, total=total, unit=run.unit),
        shards=ShardsOut(done=sum(shard.status == StageStatus.SUCCEEDED for shard in shards), total=len(shards)) if shards else None,
        seconds=_seconds(run, now),
        attempt=max(run.attempt, 1) if run.status == StageStatus.SHARDED else run.attempt,
        reused=run.reused,
        error=ErrorInfo.model_validate(run.error) if run.error else None,
    )


def _progress(run: StageRun, shards: list[StageRun]) -> tuple[float, float]:
    if not shards or run.status not in {StageStatus.SHARDED, StageStatus.RUNNING}:
        return run.progress_done, run.progress_total
    # Also while they are put together, which is quick: progress never goes back.
    done = sum(shard.progress_total if shard.status == StageStatus.SUCCEEDED else shard.progress_done for shard in shards)
    return done, sum(shard.progress_total for shard in shards)


def _seconds(run: StageRun, now: datetime) -> float | None:
    end = now if run.status in {StageStatus.RUNNING, StageStatus.SHARDED} else run.finished_at
    return round(max((end - run.started_at).total_seconds(), 0.0), 3) if end and run.started_at else None


def _eta(job: Job, history: Mapping[Stage, float], now: datetime) -> float | None:
    if job.status == JobStatus.SUCCEEDED:
        return 0.0
    if job.status not in {JobStatus.QUEUED, JobStatus.RUNNING}:
        return None
    stages = []
    for run in job.stages:
        done, total = _progress(run, _shards(job, run))
        status = StageStatus.RUNNING if run.status == StageStatus.SHARDED else run.status
        progress = min(done / total, 1.0) if total else 0.0
        stages.append(
            StageFigures(stage=Stage(run.stage), status=status, seconds=_seconds(run, now) or 0.0, progress=progress, reused=run.reused)
        )
    priors = _priors(job)
    left = eta_seconds(priors, stages, history) if priors else None
    return None if left is None else round(left, 1)


def _priors(job: Job) -> dict[Stage, float]:
    """Empty for a job of an earlier version whose spec has fields that are gone: it can be shown, but not be estimated."""
    try:
        return prior_seconds(JobSpec.model_validate(job.spec), data_figures(job.dataset))
    except ValidationError:
        return {}


def data_figures(dataset: Dataset) -> DataFigures:
    return DataFigures(rows=dataset.rows, test_rows=dataset.test_rows, mean_chars=dataset.mean_chars, classes=len(dataset.label_counts))
