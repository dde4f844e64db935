"""What webhooks are told of: messages are rows, written in the transaction that changes the job; `app.webhooks` sends them after it.

The layer beneath the jobs, so that no change of theirs can go untold. The caller commits.
"""

import secrets
from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import or_, select
from sqlalchemy.orm import Session

from app.tables import Job, Student, Webhook, WebhookDelivery, utcnow


class WebhookEvent(StrEnum):
    """What a webhook may ask for."""

    JOB_STARTED = "job.started"
    STAGE_FINISHED = "stage.finished"
    JOB_SUCCEEDED = "job.succeeded"
    JOB_FAILED = "job.failed"
    JOB_CANCELLED = "job.cancelled"


TEST = "webhook.test"


class DeliveryStatus(StrEnum):
    PENDING = "pending"
    DELIVERED = "delivered"
    FAILED = "failed"


_TOLD = {
    "job_started": WebhookEvent.JOB_STARTED,
    "stage_succeeded": WebhookEvent.STAGE_FINISHED,
    "job_succeeded": WebhookEvent.JOB_SUCCEEDED,
    "job_failed": WebhookEvent.JOB_FAILED,
    "job_cancelled": WebhookEvent.JOB_CANCELLED,
}


def announce(session: Session, job_id: str, type: str, stage: str | None = None, **data: Any) -> None:
    """Writes a message for each webhook that wants to know of a job's event of that type. Shards tell nothing, whole stages do.

    The message has ids, names and states, and nothing that a user wrote but the name.
    """
    if (event := _TOLD.get(type)) is None or data.get("shard"):
        return
    job = session.get_one(Job, job_id)
    of_it = (Webhook.enabled, or_(Webhook.student.is_(None), Webhook.student == job.name))
    # Kept from being deleted before the message names it.
    query = select(Webhook).where(*of_it).order_by(Webhook.id).with_for_update(read=True, key_share=True)
    wanted = [webhook for webhook in session.scalars(query) if event in webhook.events]
    if not wanted:
        return
    told: dict[str, Any] = {"job_id": job.id, "name": job.name, "status": job.status, "student": _student(session, job)}
    if stage is not None:
        told["stage"] = stage
    if event == WebhookEvent.STAGE_FINISHED:
        told["reused"] = bool(data.get("reused"))
    if event == WebhookEvent.JOB_FAILED:
        told["error"] = data["error"]["type"]
    for webhook in wanted:
        add_delivery(session, webhook.id, event, told)


def add_delivery(session: Session, webhook_id: str, type: str, data: dict[str, Any]) -> WebhookDelivery:
    """A message that is due now: `{"type", "timestamp", "data"}`, as the Standard Webhooks specification has it."""
    now = utcnow()
    delivery = WebhookDelivery(
        id=f"msg_{secrets.token_hex(12)}",
        webhook_id=webhook_id,
        type=str(type),
        payload={"type": str(type), "timestamp": written(now), "data": data},
        status=DeliveryStatus.PENDING,
        attempts=0,
        next_at=now,
        created_at=now,
    )
    session.add(delivery)
    return delivery


def written(moment: datetime) -> str:
    """As in RFC 3339, in UTC."""
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _student(session: Session, job: Job) -> dict[str, Any] | None:
    version = session.scalar(select(Student.version).where(Student.job_id == job.id))
    return None if version is None else {"name": job.name, "version": version}
