"""What may happen to a delivery. Pure database code, shared by the API and the senders; the caller commits.

Whoever touches a webhook and its deliveries locks the webhook first, and who claims deliveries waits for no lock, so none can deadlock.
"""

import json
import random
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from sqlalchemy import ColumnElement, delete, or_, select, update
from sqlalchemy.orm import Session

from app.config import WebhookSettings
from app.outbox import DeliveryStatus
from app.tables import Webhook, WebhookDelivery, utcnow
from app.webhooks.attempts import ANSWER_SECONDS, Outcome

GONE = 410
_DISABLED = {"type": "webhook-disabled", "detail": "The webhook was disabled before the message could be delivered."}


@dataclass(frozen=True, slots=True)
class Claimed:
    """A delivery that is this sender's until its lease ends, and all that it takes to send it."""

    id: str
    webhook_id: str
    attempt: int
    url: str
    keys: list[str]
    body: bytes


def any_due(session: Session) -> bool:
    """Whether `claim_due` may find something. Asked by a reader: SQLite's one write lock is for those who have something to write."""
    return session.scalar(select(WebhookDelivery.id).join(Webhook).where(*_due()).limit(1)) is not None


def claim_due(session: Session, room: int, busy: Mapping[str, int], settings: WebhookSettings) -> list[Claimed]:
    """Up to `room` deliveries that are due, longest first; `busy`: how many this sender has under way, by webhook.

    A webhook gets half of a sender's places at most, so that one that hangs does not hold up the others.
    """
    share = max(1, settings.concurrency // 2)
    places = Counter(busy)
    full = [webhook_id for webhook_id, count in places.items() if count >= share]
    query = select(WebhookDelivery, Webhook).join(Webhook).where(*_due(), Webhook.id.not_in(full))
    # Not under the webhook's lock, so it must wait for no row that somebody else has locked.
    query = query.with_for_update(skip_locked=True, of=WebhookDelivery)
    claimed: list[Claimed] = []
    for delivery, webhook in session.execute(query.order_by(WebhookDelivery.next_at, WebhookDelivery.id).limit(10 * room)):
        if len(claimed) < room and places[webhook.id] < share and _claim(session, delivery, settings):
            places[webhook.id] += 1
            body = json.dumps(delivery.payload, separators=(",", ":")).encode()
            claimed.append(Claimed(delivery.id, webhook.id, delivery.attempts + 1, webhook.url, signing_keys(webhook), body))
    return claimed


def signing_keys(webhook: Webhook) -> list[str]:
    """The secret, and the one before while that is still known."""
    is_known = webhook.old_secret_until is not None and webhook.old_secret_until > utcnow()
    return [webhook.secret, webhook.old_secret] if webhook.old_secret and is_known else [webhook.secret]


def _claim(session: Session, delivery: WebhookDelivery, settings: WebhookSettings) -> bool:
    now = utcnow()
    # Longer than any attempt takes: a sender that has not spoken by then is gone.
    lease = timedelta(seconds=2 * settings.total_seconds + ANSWER_SECONDS + 10)
    wanted = (*_held(delivery.id, delivery.attempts), WebhookDelivery.next_at <= now)
    return _change(session, wanted, attempts=delivery.attempts + 1, attempted_at=now, next_at=now + lease)


def record(session: Session, claimed: Claimed, outcome: Outcome, settings: WebhookSettings) -> None:
    """Writes down what came of an attempt. After a failure it is due again, until the schedule or the webhook's patience ends."""
    webhook = lock_webhook(session, claimed.webhook_id)
    if webhook is None:
        return
    now = utcnow()
    changes: dict[str, Any] = {"status_code": outcome.status_code, "answer": outcome.answer, "error": outcome.error}
    if outcome.error is None:
        webhook.failing_since = None
        # Whoever has claimed it meanwhile finds that it is done.
        delivered = (WebhookDelivery.id == claimed.id,)
        _change(session, delivered, **changes, status=DeliveryStatus.DELIVERED, next_at=None, finished_at=now)
        return
    webhook.failing_since = webhook.failing_since or now
    session.flush()
    delays = settings.retry_seconds[claimed.attempt - 1 :]
    if outcome.status_code == GONE or not delays:
        _change(session, _held(claimed.id, claimed.attempt), **changes, status=DeliveryStatus.FAILED, next_at=None, finished_at=now)
    else:
        seconds = max(delays[0] * random.uniform(1, 1.2), outcome.retry_after)
        _change(session, _held(claimed.id, claimed.attempt), **changes, next_at=now + timedelta(seconds=seconds))
    if outcome.status_code == GONE:
        disable(session, webhook, "The receiver answered 410 Gone.")
    elif now - webhook.failing_since >= timedelta(days=settings.disable_after_days):
        disable(session, webhook, f"Every attempt since {webhook.failing_since:%Y-%m-%d %H:%M:%S} UTC has failed.")


def disable(session: Session, webhook: Webhook, reason: str | None) -> None:
    """Nothing more is sent there. The caller holds the webhook's lock. `reason`: null if the caller of the API wished it."""
    webhook.enabled, webhook.disabled_reason = False, reason
    session.flush()
    pending = (WebhookDelivery.webhook_id == webhook.id, WebhookDelivery.status == DeliveryStatus.PENDING)
    ended = {"status": DeliveryStatus.FAILED, "next_at": None, "finished_at": utcnow(), "error": _DISABLED}
    session.execute(update(WebhookDelivery).where(*pending).values(ended), execution_options={"synchronize_session": False})


def lock_webhook(session: Session, webhook_id: str, *, delete: bool = False) -> Webhook | None:
    """As committed last, kept from all others until the transaction ends; from being written to, too, if it is to be deleted."""
    query = select(Webhook).where(Webhook.id == webhook_id).with_for_update(key_share=not delete)
    return session.scalar(query.execution_options(populate_existing=True))


def remove_old(session: Session, settings: WebhookSettings) -> int:
    """Deletes messages that nobody will look up or send any more; returns how many."""
    before = utcnow() - timedelta(days=settings.keep_days)
    done = or_(WebhookDelivery.status != DeliveryStatus.PENDING, WebhookDelivery.next_at < before)
    old = delete(WebhookDelivery).where(WebhookDelivery.created_at < before, done).returning(WebhookDelivery.id)
    return len(session.scalars(old, execution_options={"synchronize_session": False}).all())


def _due() -> tuple[ColumnElement[bool], ...]:
    return WebhookDelivery.status == DeliveryStatus.PENDING, WebhookDelivery.next_at <= utcnow(), Webhook.enabled.is_(True)


def _held(delivery_id: str, attempt: int) -> tuple[ColumnElement[bool], ...]:
    is_pending = WebhookDelivery.status == DeliveryStatus.PENDING
    return WebhookDelivery.id == delivery_id, is_pending, WebhookDelivery.attempts == attempt


def _change(session: Session, wanted: tuple[ColumnElement[bool], ...], **changes: Any) -> bool:
    statement = update(WebhookDelivery).where(*wanted).values(changes).returning(WebhookDelivery.id)
    return session.scalar(statement, execution_options={"synchronize_session": False}) is not None
