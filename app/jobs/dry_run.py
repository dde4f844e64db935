"""`POST /jobs?dry_run=true`: what a job would take, and whether it fits. Stores nothing."""

from collections.abc import Mapping

from pydantic import ValidationError
from sqlalchemy import func, select
from sqlalchemy.orm import Session, selectinload

from app.config import get_settings
from app.contracts.estimates import DataFigures, prior_seconds, usual_seconds
from app.contracts.footprint import artefact_bytes, peak_bytes
from app.contracts.reuse import expected_keys
from app.contracts.spec import JobSpec
from app.contracts.stages import GRAPH, JobStatus, Stage
from app.database import read_session_factory
from app.datasets.service import check_storable, get_dataset, prepare_rows
from app.errors import FieldError, ServiceError
from app.jobs.machine import machine_memory
from app.jobs.row_removal import check_rows_there
from app.jobs.schemas import EstimateTotals, JobEstimate, StageEstimate
from app.jobs.service import check_name
from app.jobs.submission import Submission
from app.jobs.views import HISTORY_JOBS, data_figures, stage_history
from app.quotas import check_job
from app.storage import BlobStore, get_storage
from app.tables import Job, StageRun

_LESS_MEMORY: dict[Stage, str] = {
    Stage.FINETUNE_TEACHER: "a smaller teacher.model, teacher.batch_size or teacher.max_tokens",
    Stage.FINETUNE_GENERATOR: "generator.method lora, or a smaller generator.model, generator.batch_size or generator.max_tokens",
    Stage.GENERATE: "a smaller generate.batch_size or generate.max_new_tokens",
    Stage.LABEL: "a smaller label.batch_size, or fewer label.recombined_tokens",
    Stage.DISTIL: "fewer generate.texts or label.recombined_tokens",
    Stage.PUBLISH: "a smaller teacher.model or label.batch_size",
}


def estimate(submission: Submission) -> JobEstimate:
    """Checks everything that `submit` checks.

    Raises `ServiceError` as that does, and `does-not-fit`: 422 for memory, 507 for room in the blob store.
    """
    settings, storage, spec = get_settings(), get_storage(), submission.spec
    with read_session_factory()() as session:
        if submission.dataset_id is not None:
            dataset = get_dataset(session, submission.dataset_id)
            check_rows_there(dataset)
            data, content_hash, lineage_hash = data_figures(dataset), dataset.content_hash, dataset.lineage_hash
            warnings, rows_bytes, new_bytes = dataset.warnings, 0, 0
        else:
            prepared = prepare_rows(submission.rows, submission.test, settings.limits)
            checked, content_hash, warnings = prepared.checked, prepared.content_hash, prepared.checked.warnings
            lineage_hash = prepared.lineage_hash
            data = DataFigures(len(checked.rows), len(checked.test), checked.mean_chars, len(checked.label_counts))
            rows_bytes, new_bytes = prepared.bytes, check_storable(session, prepared)
        check_job(session, new_bytes=new_bytes, lock=False)
        if not submission.options.replace_dataset:
            check_name(session, submission.options.name, content_hash)
        history = stage_history(session)
        past_jobs, peaks = _past(session)
    seconds = usual_seconds(prior_seconds(spec, data), history)
    stages = _stages(storage, spec, data, lineage_hash, seconds, peaks)
    totals = EstimateTotals(
        seconds=round(sum(stage.seconds for stage in stages), 1),
        peak_bytes=max(stage.peak_bytes for stage in stages),
        artefact_bytes=sum(stage.artefact_bytes for stage in stages),
    )
    memory, free = settings.worker.memory_bytes or machine_memory(), storage.free_bytes()
    # A finished stage lies twice for a moment: where it was made, and in the store.
    needed = totals.artefact_bytes + rows_bytes + (max(stage.artefact_bytes for stage in stages) if storage.local else 0)
    _check_memory(stages, memory)
    _check_room(needed, free)
    return JobEstimate(
        name=submission.options.name,
        stages=stages,
        totals=totals,
        past_jobs=past_jobs,
        memory_bytes=memory,
        free_bytes=free,
        warnings=warnings,
        preset=submission.preset,
        spec=spec.model_dump(mode="json"),
    )


def _stages(
    storage: BlobStore, spec: JobSpec, data: DataFigures, lineage_hash: str, seconds: Mapping[Stage, float], peaks: Mapping[Stage, float]
) -> list[StageEstimate]:
    keys = expected_keys(spec, lineage_hash)
    memory, room = peak_bytes(spec, data), artefact_bytes(spec, data)
    found = []
    for stage, node in GRAPH.items():
        key = keys[stage]
        reused = storage.manifest(key) is not None if key else None if node.reusable else False
        todo = 0 if reused else 1
        found.append(
            StageEstimate(
                name=stage,
                seconds=round(todo * seconds[stage], 1),
                peak_bytes=round(todo * memory[stage] * peaks.get(stage, 1.0)),
                artefact_bytes=todo * room[stage],
                reused=reused,
            )
        )
    return found


def _past(session: Session) -> tuple[int, dict[Stage, float]]:
    """How many of the last jobs succeeded under a spec like today's, and each stage's highest observed over modelled peak memory."""
    last = select(Job).where(Job.status == JobStatus.SUCCEEDED).order_by(Job.created_at.desc()).limit(HISTORY_JOBS)
    count, ratios = 0, dict[Stage, float]()
    for job in session.scalars(last.options(selectinload(Job.dataset))):
        try:
            modelled = peak_bytes(JobSpec.model_validate(job.spec), data_figures(job.dataset))
        except ValidationError:
            continue
        count += 1
        peaks = select(StageRun.stage, func.max(StageRun.peak_bytes)).where(StageRun.job_id == job.id, StageRun.reused.is_(False))
        for name, peak in session.execute(peaks.group_by(StageRun.stage)):
            stage = Stage(name)
            if peak:
                ratios[stage] = max(ratios.get(stage, 0.0), peak / modelled[stage])
    return count, ratios


def _check_memory(stages: list[StageEstimate], memory: int | None) -> None:
    too_large = [stage for stage in stages if memory is not None and stage.peak_bytes > memory]
    if not too_large:
        return
    errors = [
        FieldError(
            column=f"stages.{stage.name}",
            detail=f"needs about {_readable(stage.peak_bytes)} of memory; the machine has {_readable(memory or 0)}",
            remedy=f"Ask for {_LESS_MEMORY[Stage(stage.name)]} in the spec.",
        )
        for stage in too_large
    ]
    detail = f"{too_large[0].name} {errors[0].detail} (setting GENDISTIL_WORKER__MEMORY_BYTES)."
    raise ServiceError(422, "does-not-fit", detail, remedy=errors[0].remedy, errors=errors)


def _check_room(needed: int, free: int | None) -> None:
    if free is None or needed <= free:
        return
    detail = f"The job needs about {_readable(needed)} in the blob store, which has {_readable(free)} left."
    raise ServiceError(
        507, "does-not-fit", detail, remedy="Remove what nothing uses (gendistil gc), or jobs and students that are not needed."
    )


def _readable(size: float) -> str:
    return f"{size / 1e9:,.1f} GB" if size >= 1e9 else f"{size / 1e6:,.1f} MB"
