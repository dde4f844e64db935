"""Webhooks and the log of their deliveries."""

import secrets
from datetime import timedelta
from typing import Any

from sqlalchemy import delete, func, select
from sqlalchemy.orm import Session

from app.audit import record
from app.config import get_settings
from app.errors import FieldError, ServiceError, not_found
from app.lookups import by_id, newest_first, storable
from app.outbox import TEST, DeliveryStatus, add_delivery
from app.paging import unknown_cursor
from app.tables import Webhook, WebhookDelivery, utcnow
from app.webhooks.addresses import AddressRefused, checked_addresses
from app.webhooks.deliveries import disable, lock_webhook
from app.webhooks.schemas import DeliveryOut, NewWebhookOut, WebhookChange, WebhookIn, WebhookOut
from app.webhooks.signing import new_secret

_LIST = "GET /webhooks lists them."


async def check_address(url: str) -> None:
    """Raises `ServiceError` 422 if no message may go there. Before a transaction begins: names take seconds to resolve at times."""
    try:
        await checked_addresses(url, get_settings().webhooks)
    except AddressRefused as error:
        errors = [FieldError(column="url", detail=error.detail, remedy=error.remedy)]
        raise ServiceError(422, "webhook-address-refused", error.detail, remedy=error.remedy, errors=errors) from None


def create_webhook(session: Session, wanted: WebhookIn) -> Webhook:
    """Raises `ServiceError` 409 if there are too many."""
    most = get_settings().webhooks.max_webhooks
    if (session.scalar(select(func.count()).select_from(Webhook)) or 0) >= most:
        detail = f"There are {most} webhooks, the most there may be (setting GENDISTIL_WEBHOOKS__MAX_WEBHOOKS)."
        raise ServiceError(409, "too-many-webhooks", detail, remedy=f"Delete one that is not needed. {_LIST}")
    webhook = Webhook(id=f"wh_{secrets.token_hex(8)}", secret=new_secret(), **wanted.model_dump(mode="json"))
    session.add(webhook)
    session.flush()
    return webhook


def get_webhook(session: Session, webhook_id: str) -> Webhook:
    """Raises `ServiceError` 404."""
    found = by_id(session, Webhook, webhook_id)
    if found is None:
        raise not_found("webhook", webhook_id[:60], _LIST)
    return found


def list_webhooks(session: Session, *, limit: int, after: str | None) -> tuple[list[Webhook], bool]:
    """The newest first, and whether there are more. Raises `ServiceError` 422 for an unknown `after`."""
    return newest_first(session, select(Webhook), Webhook, limit=limit, after=after)


def change_webhook(session: Session, webhook_id: str, change: WebhookChange) -> Webhook:
    """Enabled again, it begins anew; disabled, its pending messages are given up. Raises `ServiceError` 404."""
    webhook = _locked(session, webhook_id)
    changes = change.model_dump(mode="json", exclude_unset=True)
    enabled = changes.pop("enabled", webhook.enabled)
    for name, value in changes.items():
        setattr(webhook, name, value)
    if enabled and not webhook.enabled:
        webhook.enabled, webhook.disabled_reason, webhook.failing_since = True, None, None
    elif webhook.enabled and not enabled:
        disable(session, webhook, None)
    record(session, "webhook.changed", webhook.id, {"fields": sorted(change.model_fields_set)})
    session.flush()
    return webhook


def delete_webhook(session: Session, webhook_id: str) -> None:
    """With its log. Raises `ServiceError` 404."""
    webhook = _locked(session, webhook_id, delete=True)
    session.execute(delete(WebhookDelivery).where(WebhookDelivery.webhook_id == webhook.id))
    session.delete(webhook)


def rotate_secret(session: Session, webhook_id: str) -> Webhook:
    """A new secret; the one before signs too for a while, any older one does not. Raises `ServiceError` 404."""
    webhook = _locked(session, webhook_id)
    until = utcnow() + timedelta(seconds=get_settings().webhooks.rotation_seconds)
    webhook.secret, webhook.old_secret, webhook.old_secret_until = new_secret(), webhook.secret, until
    record(session, "webhook.rotated", webhook.id)
    session.flush()
    return webhook


def send_test(session: Session, webhook_id: str) -> WebhookDelivery:
    """Raises `ServiceError`: 404, or 409 if the webhook is disabled."""
    webhook = _enabled(session, webhook_id)
    delivery = add_delivery(session, webhook.id, TEST, {"webhook_id": webhook.id})
    session.flush()
    return delivery


def retry(session: Session, webhook_id: str, delivery_id: str) -> WebhookDelivery:
    """Sends it once more at once, also one that was delivered. Raises `ServiceError`: 404, or 409 if the webhook is disabled."""
    _enabled(session, webhook_id)
    delivery = _delivery(session, webhook_id, delivery_id)
    if delivery is None:
        raise not_found("delivery", delivery_id[:60], f"GET /webhooks/{webhook_id}/deliveries lists them.")
    delivery.status, delivery.next_at, delivery.finished_at = DeliveryStatus.PENDING, utcnow(), None
    session.flush()
    return delivery


def list_deliveries(
    session: Session, webhook_id: str, *, limit: int, after: str | None, status: DeliveryStatus | None
) -> tuple[list[WebhookDelivery], bool]:
    """The newest first, and whether there are more. Raises `ServiceError`: 404, or 422 for an unknown `after`."""
    webhook = get_webhook(session, webhook_id)
    query = select(WebhookDelivery).where(WebhookDelivery.webhook_id == webhook.id)
    if status is not None:
        query = query.where(WebhookDelivery.status == status)
    if after is not None and _delivery(session, webhook_id, after) is None:
        raise unknown_cursor(after[:60])
    return newest_first(session, query, WebhookDelivery, limit=limit, after=after)


def webhook_out(webhook: Webhook) -> WebhookOut:
    """Without its secret."""
    return WebhookOut(**_fields(webhook))


def new_webhook_out(webhook: Webhook) -> NewWebhookOut:
    """With the secret that was made just now."""
    return NewWebhookOut(**_fields(webhook), secret=webhook.secret)


def delivery_out(delivery: WebhookDelivery) -> DeliveryOut:
    found = {name: getattr(delivery, name) for name in DeliveryOut.model_fields if name != "next_attempt_at"}
    return DeliveryOut(**found, next_attempt_at=delivery.next_at)


def _fields(webhook: Webhook) -> dict[str, Any]:
    found = {name: getattr(webhook, name) for name in WebhookOut.model_fields}
    if webhook.old_secret_until is not None and webhook.old_secret_until <= utcnow():
        found["old_secret_until"] = None
    return found


def _locked(session: Session, webhook_id: str, *, delete: bool = False) -> Webhook:
    found = lock_webhook(session, webhook_id, delete=delete) if storable(webhook_id) else None
    return get_webhook(session, webhook_id) if found is None else found


def _enabled(session: Session, webhook_id: str) -> Webhook:
    webhook = _locked(session, webhook_id)
    if not webhook.enabled:
        detail = f"The webhook is disabled. {webhook.disabled_reason or ''}".strip()
        raise ServiceError(409, "webhook-disabled", detail, remedy=f'Enable it: PATCH /webhooks/{webhook.id} {{"enabled": true}}.')
    return webhook


def _delivery(session: Session, webhook_id: str, delivery_id: str) -> WebhookDelivery | None:
    found = by_id(session, WebhookDelivery, delivery_id)
    return found if found and found.webhook_id == webhook_id else None
