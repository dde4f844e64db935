"""`/webhooks`: what goes in and what comes out."""

from datetime import datetime
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from app.datasets.raw import PLAIN_TEXT
from app.jobs.schemas import NAME_PATTERN
from app.outbox import DeliveryStatus, WebhookEvent

# PostgreSQL stores no NUL.
Url = Annotated[
    str,
    Field(
        min_length=1,
        max_length=2000,
        pattern=r"^[Hh][Tt][Tt][Pp][Ss]?://[^\x00-\x20]+$",
        description="Public, and https unless the settings allow more.",
        examples=["https://example.com/hooks/gendistil"],
    ),
]
Events = Annotated[list[WebhookEvent], Field(min_length=1, description="Those to be told of.", examples=[["job.succeeded", "job.failed"]])]
StudentName = Annotated[str, Field(pattern=NAME_PATTERN, description="Only jobs of this name.", examples=["triage"])]
Description = Annotated[str, Field(max_length=500, pattern=PLAIN_TEXT, examples=["the team's chat"])]


def _without_defaults(schema: dict[str, Any]) -> None:
    for field in schema["properties"].values():
        field.pop("default", None)


class WebhookIn(BaseModel):
    model_config = ConfigDict(extra="forbid")

    url: Url
    events: Events = list(WebhookEvent)
    student: StudentName | None = None
    description: Description = ""
    enabled: bool = True


class WebhookChange(BaseModel):
    """Fields that are left out stay as they are; `student: null` is for all names."""

    model_config = ConfigDict(extra="forbid", json_schema_extra=_without_defaults)

    # What is left out is told by `model_fields_set`; these values are never used.
    url: Url = ""
    events: Events = []
    student: StudentName | None = None
    description: Description = ""
    enabled: bool = True


class WebhookOut(BaseModel):
    id: str
    url: str
    events: list[WebhookEvent]
    student: str | None
    description: str
    enabled: bool
    disabled_reason: str | None = Field(description="Why the service disabled it; null if a caller did.")
    failing_since: datetime | None = Field(description="When the first of the attempts was made that have failed in a row.")
    old_secret_until: datetime | None = Field(description="Until then, messages are signed with the secret before this one too.")
    created_at: datetime


class NewWebhookOut(WebhookOut):
    secret: str = Field(
        description="Shown this once. Receivers check signatures with it.", examples=["whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD"]
    )


class DeliveryError(BaseModel):
    type: str = Field(
        description="`timeout`, `connection`, `tls`, `address-refused`, `redirect`, `refused`, `webhook-disabled` or `internal`."
    )
    detail: str


class DeliveryOut(BaseModel):
    """A message, and what came of the last attempt to deliver it."""

    id: str = Field(description="The header `webhook-id`, the same in every attempt.")
    type: str
    payload: dict[str, Any]
    status: DeliveryStatus
    attempts: int
    status_code: int | None = Field(description="Of the last answer; null if there was none.")
    answer: str | None = Field(description="How its body began.")
    error: DeliveryError | None
    attempted_at: datetime | None
    next_attempt_at: datetime | None = Field(description="While an attempt is under way: when it is given up for lost.")
    created_at: datetime
    finished_at: datetime | None
