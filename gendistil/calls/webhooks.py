"""Webhooks: who is told of what happens to jobs, and what came of it."""

from collections.abc import Sequence
from typing import TypedDict, Unpack

from gendistil.models import Delivery, NewWebhook, Webhook
from gendistil.steps import Flow, done, fetched, given, listed

ONE = "/webhooks/{webhook_id}"


class WebhookFields(TypedDict, total=False):
    """`events`: as `job.succeeded`, else all; `student`: only jobs of this name, None for all."""

    events: Sequence[str]
    student: str | None
    description: str
    enabled: bool


class WebhookChange(WebhookFields, total=False):
    url: str


def create(url: str, **fields: Unpack[WebhookFields]) -> Flow[NewWebhook]:
    """The answer alone has the secret that messages are signed with."""
    return fetched(NewWebhook, "POST", "/webhooks", json=given(url=url, **fields))


def get(id: str) -> Flow[Webhook]:
    return fetched(Webhook, "GET", ONE, id)


def all_webhooks(limit: int = 20) -> Flow[list[Webhook]]:
    """The newest first."""
    return listed(Webhook, "/webhooks", limit=limit)


def change(id: str, **fields: Unpack[WebhookChange]) -> Flow[Webhook]:
    """Fields that are left out stay as they are."""
    return fetched(Webhook, "PATCH", ONE, id, json=fields)


def delete(id: str) -> Flow[None]:
    return done("DELETE", ONE, id)


def rotate(id: str) -> Flow[NewWebhook]:
    """A new secret; for a while messages are signed with the one before, too."""
    return fetched(NewWebhook, "POST", f"{ONE}/rotate", id)


def test(id: str) -> Flow[Delivery]:
    """Sends a message that says nothing."""
    return fetched(Delivery, "POST", f"{ONE}/test", id)


def deliveries(id: str, limit: int = 20, *, status: str | None = None) -> Flow[list[Delivery]]:
    """The newest first; of one status."""
    return listed(Delivery, f"{ONE}/deliveries", id, limit=limit, status=status)


def retry(id: str, delivery: str) -> Flow[Delivery]:
    """Delivers a message again."""
    return fetched(Delivery, "POST", f"{ONE}/deliveries/{{delivery_id}}/retry", id, delivery)
