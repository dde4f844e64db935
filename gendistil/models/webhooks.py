"""Webhooks and their deliveries."""

from datetime import datetime
from typing import Any

from gendistil.models.base import Answer


class Webhook(Answer):
    """`student`: None for jobs of all names. `disabled_reason`: None unless the service disabled it."""

    id: str
    url: str
    events: list[str] = []
    student: str | None = None
    description: str = ""
    enabled: bool = True
    disabled_reason: str | None = None
    failing_since: datetime | None = None
    old_secret_until: datetime | None = None
    created_at: datetime | None = None


class NewWebhook(Webhook):
    """`secret` is shown this once."""

    secret: str


class DeliveryError(Answer):
    type: str
    detail: str = ""


class Delivery(Answer):
    """A message, and what came of the last attempt to deliver it. `answer`: how the receiver's began."""

    id: str
    type: str
    payload: dict[str, Any] = {}
    status: str
    attempts: int = 0
    status_code: int | None = None
    answer: str | None = None
    error: DeliveryError | None = None
    attempted_at: datetime | None = None
    next_attempt_at: datetime | None = None
    created_at: datetime | None = None
    finished_at: datetime | None = None
