"""What /metrics tells of webhooks."""

from datetime import timedelta

from prometheus_client.parser import text_string_to_metric_families
from sqlalchemy import update
from starlette.testclient import TestClient

from app.database import transaction
from app.tables import WebhookDelivery, utcnow
from tests.app.webhooks.conftest import deliver, subscribe
from tests.app.webhooks.receiver import Receiver


def figures(api: TestClient) -> dict[str, float]:
    families = text_string_to_metric_families(api.get("/metrics").text)
    samples = [sample for family in families for sample in family.samples if sample.name.startswith("gendistil_webhook")]
    return {"".join([sample.name.removeprefix("gendistil_webhook"), *sample.labels.values()]): sample.value for sample in samples}


def test_figures(api: TestClient, target: Receiver) -> None:
    nothing = {"_deliveriespending": 0, "_deliveriesdelivered": 0, "_deliveriesfailed": 0, "_overdue_seconds": 0, "s_disabled": 0}
    assert figures(api) == nothing
    for path in ("/ok", "/fail", "/gone"):
        api.post(f"/webhooks/{subscribe(api, target.url(path))['id']}/test")
    deliver()
    counts = {"_deliveriespending": 1, "_deliveriesdelivered": 1, "_deliveriesfailed": 1, "s_disabled": 1}
    assert figures(api) == {**nothing, **counts}
    with transaction() as session:
        due = update(WebhookDelivery).where(WebhookDelivery.status == "pending")
        session.execute(due.values(next_at=utcnow() - timedelta(hours=1)))
    assert figures(api)["_overdue_seconds"] >= 3600
