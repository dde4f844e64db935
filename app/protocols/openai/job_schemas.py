"""Jobs, their events and checkpoints, with the fields that OpenAI's API has."""

from typing import Any, Generic, Literal, TypeVar

from pydantic import BaseModel, Field

from app.protocols.openai.names import ORGANIZATION

Status = Literal["validating_files", "queued", "running", "succeeded", "failed", "cancelled", "paused"]
Item = TypeVar("Item")


class CursorPage(BaseModel, Generic[Item]):
    object: Literal["list"] = "list"
    data: list[Item]
    has_more: bool


class JobError(BaseModel):
    code: str
    message: str
    param: str | None = None


class Hyperparameters(BaseModel):
    n_epochs: int | Literal["auto"]
    batch_size: int | Literal["auto"]
    learning_rate_multiplier: float | Literal["auto"]


class Supervised(BaseModel):
    hyperparameters: Hyperparameters


class Method(BaseModel):
    type: Literal["supervised"] = "supervised"
    supervised: Supervised


class FineTuningJob(BaseModel):
    id: str
    object: Literal["fine_tuning.job"] = "fine_tuning.job"
    created_at: int
    finished_at: int | None
    estimated_finish: int | None = Field(description="While it is queued or runs, once there is something to go by.")
    model: str = Field(description="The preset.")
    fine_tuned_model: str | None = Field(description="The `model` of completions, once the job has succeeded.")
    status: Status
    error: JobError | None
    hyperparameters: Hyperparameters
    method: Method
    training_file: str
    validation_file: str | None
    result_files: list[str]
    seed: int
    trained_tokens: int | None = Field(description="By the teacher, in all epochs; an estimate, there once the job has succeeded.")
    metadata: dict[str, str] | None
    integrations: list[dict[str, Any]] = []
    organization_id: str = ORGANIZATION


class FineTuningEvent(BaseModel):
    id: str
    object: Literal["fine_tuning.job.event"] = "fine_tuning.job.event"
    created_at: int
    level: Literal["info", "warn", "error"]
    message: str
    type: Literal["message", "metrics"]
    data: dict[str, Any] = Field(description="`event`: what happened; `stage`: where; and what goes with it, as in GET /jobs/{id}/events.")


class CheckpointMetrics(BaseModel):
    step: int
    train_loss: float | None = Field(None, description="Distillation loss of the last epoch.")
    full_valid_mean_token_accuracy: float | None = Field(None, description="Accuracy on the held-out rows; a label counts as one token.")


class Checkpoint(BaseModel):
    id: str
    object: Literal["fine_tuning.job.checkpoint"] = "fine_tuning.job.checkpoint"
    created_at: int
    fine_tuned_model_checkpoint: str
    fine_tuning_job_id: str
    metrics: CheckpointMetrics
    step_number: int = Field(description="Epochs of the student's training.")
