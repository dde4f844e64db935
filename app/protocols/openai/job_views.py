"""From rows of the service to jobs, events and checkpoints as OpenAI's clients read them."""

from collections.abc import Mapping
from datetime import datetime
from typing import Literal

from pydantic import ValidationError

from app.contracts.estimates import teacher_rows, workload
from app.contracts.presets import PRESETS
from app.contracts.spec import JobSpec
from app.contracts.stages import JobStatus, Stage
from app.jobs.schemas import EventOut
from app.jobs.views import data_figures, job_out
from app.protocols.openai.files import results_file
from app.protocols.openai.job_schemas import (
    Checkpoint,
    CheckpointMetrics,
    FineTuningEvent,
    FineTuningJob,
    Hyperparameters,
    JobError,
    Method,
    Status,
    Supervised,
)
from app.protocols.openai.names import CHECKPOINT, EVENT, fine_tuned_model, public_id
from app.tables import Job, OpenAiJob, utcnow

_LEVELS: dict[str, Literal["warn", "error"]] = {
    "job_failed": "error",
    "stage_retried": "warn",
    "latest_kept": "warn",
}


def job_view(row: OpenAiJob, job: Job, history: Mapping[Stage, float]) -> FineTuningJob:
    """`history`: what `stage_history` gives."""
    shown, now = job_out(job, history), utcnow()
    status: Status = "paused" if row.paused and job.status == JobStatus.CANCELLED else job.status  # type: ignore[assignment]  # all of ours are that API's
    finish = int(now.timestamp() + shown.eta_seconds) if shown.eta_seconds and status in ("queued", "running") else None
    values = _hyperparameters(job)
    error = shown.error
    return FineTuningJob(
        id=public_id(job.id),
        created_at=_seconds(job.created_at),
        finished_at=_seconds(job.finished_at) if job.finished_at and status != "paused" else None,
        estimated_finish=finish,
        model=job.preset,
        fine_tuned_model=fine_tuned_model(job),
        status=status,
        error=JobError(code=error.type, message=f"{error.detail} {error.remedy or ''}".strip()) if error else None,
        hyperparameters=values,
        method=Method(supervised=Supervised(hyperparameters=values)),
        training_file=row.training_file,
        validation_file=row.validation_file,
        result_files=results_file(job),
        seed=job.spec["teacher"]["seed"],
        trained_tokens=_trained_tokens(job),
        metadata=row.tags or None,
    )


def event_view(event: EventOut) -> FineTuningEvent:
    return FineTuningEvent(
        id=f"{EVENT}{event.id}",
        created_at=_seconds(event.created_at),
        level=_LEVELS.get(event.type, "info"),
        message=event.message,
        type="metrics" if event.type == "metric" else "message",
        data={**event.data, "event": event.type, "stage": event.stage},
    )


def checkpoints(job: Job) -> list[Checkpoint]:
    """The published student: stages before it leave nothing that answers."""
    student, model = job.student, fine_tuned_model(job)
    if student is None or model is None:
        return []
    distilled = next((run.metrics for run in job.stages if run.stage == Stage.DISTIL and run.metrics), {})
    step = int(job.spec["distil"]["epochs"])
    metrics = CheckpointMetrics(
        step=step,
        train_loss=distilled.get("kd_loss", {}).get("student"),
        full_valid_mean_token_accuracy=student.manifest["metrics"].get("accuracy"),
    )
    return [
        Checkpoint(
            id=public_id(job.id, CHECKPOINT),
            created_at=_seconds(student.created_at),
            fine_tuned_model_checkpoint=model,
            fine_tuning_job_id=public_id(job.id),
            metrics=metrics,
            step_number=step,
        )
    ]


def _hyperparameters(job: Job) -> Hyperparameters:
    teacher, preset = job.spec["teacher"], PRESETS.get(job.preset)
    factor = teacher["learning_rate"] / preset.teacher.learning_rate if preset else 1.0
    return Hyperparameters(n_epochs=teacher["epochs"], batch_size=teacher["batch_size"], learning_rate_multiplier=float(f"{factor:.6g}"))


def _trained_tokens(job: Job) -> int | None:
    if job.status != JobStatus.SUCCEEDED:
        return None
    try:
        spec = JobSpec.model_validate(job.spec)
    except ValidationError:  # of an earlier version
        return None
    amount = workload(spec, data_figures(job.dataset))
    rows = teacher_rows(spec, amount.seed_rows, amount.refit_rows)
    return round(rows * min(amount.tokens, spec.teacher.max_tokens))


def _seconds(moment: datetime) -> int:
    return int(moment.timestamp())
