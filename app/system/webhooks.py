"""What stands in the log of webhooks at the moment of a scrape."""

from datetime import datetime

from prometheus_client.core import GaugeMetricFamily, Metric
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from app.outbox import DeliveryStatus
from app.tables import Webhook, WebhookDelivery


def webhook_families(session: Session, now: datetime) -> list[Metric]:
    """Two queries. Raises `SQLAlchemyError`."""
    deliveries = GaugeMetricFamily("gendistil_webhook_deliveries", "Messages in the log of webhooks, by status.", labels=["status"])
    overdue = GaugeMetricFamily("gendistil_webhook_overdue_seconds", "How long the message that is due longest has been; 0 if none is.")
    disabled = GaugeMetricFamily("gendistil_webhooks_disabled", "Webhooks that the service has disabled, as their receivers failed.")
    figures = select(WebhookDelivery.status, func.count(), func.min(WebhookDelivery.next_at)).group_by(WebhookDelivery.status)
    found = {status: (count, first) for status, count, first in session.execute(figures)}
    for status in DeliveryStatus:
        deliveries.add_metric([status], found.get(status, (0, None))[0])
    first = found.get(DeliveryStatus.PENDING, (0, None))[1]
    overdue.add_metric([], max((now - first).total_seconds(), 0.0) if first else 0.0)
    disabled.add_metric([], session.scalar(select(func.count()).where(Webhook.disabled_reason.is_not(None))) or 0)
    return [deliveries, overdue, disabled]
