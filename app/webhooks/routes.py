"""`/webhooks`: who is told of jobs, and what was told."""

from typing import Annotated

from fastapi import APIRouter, Query
from fastapi.concurrency import run_in_threadpool

from app.database import ReadSessionDep, SessionDep, transaction
from app.openapi import problems
from app.outbox import DeliveryStatus
from app.paging import Page, PageLimit
from app.principals import needs
from app.webhooks import service
from app.webhooks.schemas import DeliveryOut, NewWebhookOut, WebhookChange, WebhookIn, WebhookOut

router = APIRouter(prefix="/webhooks", tags=["webhooks"])

_NONE = "There is no such webhook."
_UNREADABLE = "The body cannot be read: not UTF-8, or nested too deeply."
_ADDRESS = "A value out of range, or an address that no message may go to."


@router.post("", status_code=201, responses=problems(_400=_UNREADABLE, _409="There are too many.", _422=_ADDRESS))
@needs("admin")
async def post_webhook(wanted: WebhookIn) -> NewWebhookOut:
    """Tells an address of jobs, by the Standard Webhooks specification. The answer holds the secret, this once."""
    await service.check_address(wanted.url)

    def create() -> NewWebhookOut:
        with transaction() as session:
            return service.new_webhook_out(service.create_webhook(session, wanted))

    return await run_in_threadpool(create)


@router.get("", responses=problems(_422="A value out of range."))
@needs("admin")
def list_webhooks(
    session: ReadSessionDep, limit: PageLimit, after: Annotated[str | None, Query(description="Id of the last one seen.")] = None
) -> Page[WebhookOut]:
    """The newest first, without their secrets."""
    found, has_more = service.list_webhooks(session, limit=limit, after=after)
    items = [service.webhook_out(webhook) for webhook in found]
    return Page[WebhookOut](items=items, has_more=has_more, next_after=items[-1].id if has_more else None)


@router.get("/{webhook_id}", responses=problems(_404=_NONE))
@needs("admin")
def get_webhook(webhook_id: str, session: ReadSessionDep) -> WebhookOut:
    """The webhook, without its secret."""
    return service.webhook_out(service.get_webhook(session, webhook_id))


@router.patch("/{webhook_id}", responses=problems(_400=_UNREADABLE, _404=_NONE, _422=_ADDRESS))
@needs("admin")
async def patch_webhook(webhook_id: str, change: WebhookChange) -> WebhookOut:
    """Changes the fields that are sent. Disabled, it gives up its pending messages; enabled again, it begins anew."""
    if "url" in change.model_fields_set:
        await service.check_address(change.url)

    def apply() -> WebhookOut:
        with transaction() as session:
            return service.webhook_out(service.change_webhook(session, webhook_id, change))

    return await run_in_threadpool(apply)


@router.delete("/{webhook_id}", status_code=204, responses=problems(_404=_NONE))
@needs("admin")
def delete_webhook(webhook_id: str, session: SessionDep) -> None:
    """Removes it with its log."""
    service.delete_webhook(session, webhook_id)


@router.post("/{webhook_id}/rotate", responses=problems(_404=_NONE))
@needs("admin")
def rotate_secret(webhook_id: str, session: SessionDep) -> NewWebhookOut:
    """Makes a new secret. For a while messages have a second signature, by the secret before; any older one is out."""
    return service.new_webhook_out(service.rotate_secret(session, webhook_id))


@router.post("/{webhook_id}/test", status_code=202, responses=problems(_404=_NONE, _409="It is disabled."))
@needs("admin")
def send_test(webhook_id: str, session: SessionDep) -> DeliveryOut:
    """Sends a message of the type `webhook.test`; its delivery is in the log."""
    return service.delivery_out(service.send_test(session, webhook_id))


@router.get("/{webhook_id}/deliveries", responses=problems(_404=_NONE, _422="A value out of range."))
@needs("admin")
def list_deliveries(
    webhook_id: str,
    session: ReadSessionDep,
    limit: PageLimit,
    after: Annotated[str | None, Query(description="Id of the last one seen.")] = None,
    status: DeliveryStatus | None = None,
) -> Page[DeliveryOut]:
    """Its messages, the newest first: what each told, and what came of the last attempt."""
    found, has_more = service.list_deliveries(session, webhook_id, limit=limit, after=after, status=status)
    items = [service.delivery_out(delivery) for delivery in found]
    return Page[DeliveryOut](items=items, has_more=has_more, next_after=items[-1].id if has_more else None)


@router.post(
    "/{webhook_id}/deliveries/{delivery_id}/retry",
    status_code=202,
    responses=problems(_404="There is no such webhook or delivery.", _409="The webhook is disabled."),
)
@needs("admin")
def retry_delivery(webhook_id: str, delivery_id: str, session: SessionDep) -> DeliveryOut:
    """Sends a message once more at once, under the same id; also one that was delivered."""
    return service.delivery_out(service.retry(session, webhook_id, delivery_id))
