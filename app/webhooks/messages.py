"""What receivers are sent, for the `webhooks` of our OpenAPI; `app.outbox` writes it."""

from datetime import datetime
from typing import Literal

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field

from app.contracts.stages import JobStatus, Stage
from app.jobs.schemas import StudentRef
from app.outbox import WebhookEvent


class JobTold(BaseModel):
    model_config = ConfigDict(extra="forbid")

    job_id: str
    name: str
    status: JobStatus = Field(description="At that moment; GET /jobs/{job_id} tells what it is now.")
    student: StudentRef | None = Field(description="What it has published.")


class StageTold(JobTold):
    stage: Stage
    reused: bool = Field(description="Its output was there already.")


class FailureTold(JobTold):
    stage: Stage
    error: str = Field(description="The error's type; GET /jobs/{job_id} has what happened and what to do.")


class Message(BaseModel):
    model_config = ConfigDict(extra="forbid")

    timestamp: datetime = Field(description="Of what it tells of, not of the attempt.")


class JobMessage(Message):
    type: Literal[WebhookEvent.JOB_STARTED, WebhookEvent.JOB_SUCCEEDED, WebhookEvent.JOB_CANCELLED]
    data: JobTold


class StageMessage(Message):
    type: Literal[WebhookEvent.STAGE_FINISHED]
    data: StageTold


class FailureMessage(Message):
    type: Literal[WebhookEvent.JOB_FAILED]
    data: FailureTold


messages = APIRouter(
    responses={
        410: {"description": "The receiver wants no more: the webhook is disabled."},
        "default": {"description": "Any answer but 2xx is a failure; the message is sent again later."},
    }
)


@messages.post(WebhookEvent.JOB_STARTED, status_code=204)
def job_started(message: JobMessage) -> None:
    """A worker has begun with a job, for the first time or after it was resumed."""


@messages.post(WebhookEvent.STAGE_FINISHED, status_code=204)
def stage_finished(message: StageMessage) -> None:
    """A stage has succeeded, or its output was there already. Shards tell nothing."""


@messages.post(WebhookEvent.JOB_SUCCEEDED, status_code=204)
def job_succeeded(message: JobMessage) -> None:
    """All stages have succeeded, and `student` is published."""


@messages.post(WebhookEvent.JOB_FAILED, status_code=204)
def job_failed(message: FailureMessage) -> None:
    """A stage has failed for good."""


@messages.post(WebhookEvent.JOB_CANCELLED, status_code=204)
def job_cancelled(message: JobMessage) -> None:
    """A job was cancelled, and nothing of it runs any more."""
