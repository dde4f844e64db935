"""From a job's change to a receiver, on both databases; signatures are checked with the reference library."""

from datetime import datetime, timedelta
from functools import partial
from typing import Any

import pytest
from pydantic import TypeAdapter
from sqlalchemy import select, update
from standardwebhooks.webhooks import WebhookVerificationError
from starlette.testclient import TestClient

from app.config import get_settings
from app.contracts.stages import GRAPH, Stage
from app.database import transaction
from app.jobs import lifecycle
from app.outbox import announce
from app.tables import StageRun, Webhook, WebhookDelivery, utcnow
from app.webhooks.attempts import Outcome
from app.webhooks.deliveries import Claimed, claim_due, record, remove_old
from app.webhooks.messages import FailureMessage, JobMessage, StageMessage
from tests.app.calls import accepted, count
from tests.app.jobs.transitions import ERROR, finish_alone
from tests.app.webhooks.conftest import deliver, log, subscribe
from tests.app.webhooks.receiver import Receiver
from tests.waiting import together

Json = dict[str, Any]


def claim_now() -> list[Claimed]:
    with transaction() as session:
        return claim_due(session, 10, {}, get_settings().webhooks)


def change(table: type[Any], **values: Any) -> None:
    """In all rows of the table."""
    with transaction() as session:
        session.execute(update(table).values(values))


def due() -> None:
    """As if all waits and leases were over."""
    with transaction() as session:
        pending = update(WebhookDelivery).where(WebhookDelivery.next_at.is_not(None))
        session.execute(pending.values(next_at=utcnow() - timedelta(seconds=1)))


def seconds_left(delivery: Json) -> float:
    return (datetime.fromisoformat(delivery["next_attempt_at"]) - datetime.fromisoformat(delivery["attempted_at"])).total_seconds()


def fail_teacher(job_id: str) -> None:
    with transaction() as session:
        query = select(StageRun.id).where(StageRun.job_id == job_id, StageRun.stage == Stage.FINETUNE_TEACHER)
        run = lifecycle.claim(session, session.scalars(query).one(), "worker-1")
        assert run is not None
        error = {**ERROR, "detail": "a row said: my secret text"}
        assert lifecycle.fail_stage(session, run.id, 1, error, retry=False, max_attempts=3)


def test_a_job_that_succeeds(api: TestClient, target: Receiver) -> None:
    webhook = subscribe(api, target.url())
    job = accepted(api)
    for stage in GRAPH:
        finish_alone(job["id"], stage, f"{stage}-key")
    deliver()
    told = [message.verified(webhook["secret"]) for message in target.received]
    assert [TypeAdapter(JobMessage | StageMessage).validate_python(event) for event in told]
    assert sorted(event["type"] for event in told) == ["job.started", "job.succeeded", *["stage.finished"] * 6]
    (started,) = [event for event in told if event["type"] == "job.started"]
    assert started["data"] == {"job_id": job["id"], "name": "triage", "status": "running", "student": None}
    assert {event["data"]["stage"] for event in told if event["type"] == "stage.finished"} == set(GRAPH)
    (ended,) = [event for event in told if event["type"] == "job.succeeded"]
    assert ended["data"] == {**started["data"], "status": "succeeded", "student": {"name": "triage", "version": 1}}
    assert datetime.fromisoformat(ended["timestamp"]).tzinfo is not None
    deliveries = log(api, webhook)
    assert {message.id for message in target.received} == {delivery["id"] for delivery in deliveries}
    assert {(delivery["status"], delivery["attempts"], delivery["status_code"]) for delivery in deliveries} == {("delivered", 1, 204)}
    assert all(delivery["finished_at"] and delivery["next_attempt_at"] is None for delivery in deliveries)


def test_a_job_that_fails_tells_why_but_no_text(api: TestClient, target: Receiver) -> None:
    webhook = subscribe(api, target.url(), events=["job.failed"])
    job = accepted(api)
    fail_teacher(job["id"])
    deliver()
    (message,) = target.received
    event = message.verified(webhook["secret"])
    assert FailureMessage.model_validate(event)
    assert event["data"] == {
        **{"job_id": job["id"], "name": "triage", "status": "failed", "student": None},
        **{"stage": "finetune_teacher", "error": "out-of-memory"},
    }
    assert b"secret text" not in message.body


def test_a_job_that_is_cancelled_and_goes_on(api: TestClient, target: Receiver) -> None:
    webhook = subscribe(api, target.url())
    job = accepted(api)
    assert api.post(f"/jobs/{job['id']}/cancel").status_code == 202
    assert api.post(f"/jobs/{job['id']}/resume").status_code == 202
    finish_alone(job["id"], Stage.FINETUNE_TEACHER, "key")
    deliver()
    assert sorted(target.types(webhook["secret"])) == ["job.cancelled", "job.started", "stage.finished"]


def test_who_is_told_of_what(api: TestClient, target: Receiver) -> None:
    wanted = subscribe(api, target.url("/thanks"), student="triage", events=["job.cancelled"])
    subscribe(api, target.url("/fail"), student="other")
    subscribe(api, target.url("/fail"), events=["job.failed"])
    subscribe(api, target.url("/fail"), enabled=False)
    job = accepted(api)
    assert api.post(f"/jobs/{job['id']}/cancel").status_code == 202
    deliver()
    assert target.paths() == ["/thanks"]
    (delivery,) = log(api, wanted)
    assert (delivery["type"], delivery["answer"]) == ("job.cancelled", "thank\ufffd you")


def test_shards_tell_nothing(api: TestClient) -> None:
    subscribe(api, "https://93.184.216.34/")
    job = accepted(api)
    with transaction() as session:
        announce(session, job["id"], "stage_succeeded", "generate", shard=2)
    assert count(WebhookDelivery) == 0
    with transaction() as session:
        announce(session, job["id"], "stage_succeeded", "generate", shard=0)
    assert count(WebhookDelivery) == 1


def test_what_was_not_committed_is_not_told(api: TestClient) -> None:
    subscribe(api, "https://93.184.216.34/")
    job = accepted(api)

    def roll_back() -> None:
        with transaction() as session:
            announce(session, job["id"], "job_cancelled")
            session.flush()
            assert session.query(WebhookDelivery).count() == 1
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        roll_back()
    assert count(WebhookDelivery) == 0


def test_both_secrets_sign_for_a_while(api: TestClient, target: Receiver) -> None:
    webhook = subscribe(api, target.url())
    path = f"/webhooks/{webhook['id']}"
    rotated = api.post(f"{path}/rotate").json()
    assert rotated["secret"] != webhook["secret"]
    left = datetime.fromisoformat(rotated["old_secret_until"]) - utcnow()
    assert timedelta(hours=23) < left < timedelta(hours=25)
    api.post(f"{path}/test")
    deliver()
    for secret in (webhook["secret"], rotated["secret"]):
        assert target.received[0].verified(secret)["data"] == {"webhook_id": webhook["id"]}

    newest = api.post(f"{path}/rotate").json()["secret"]
    api.post(f"{path}/test")
    deliver()
    assert target.received[1].verified(newest)
    with pytest.raises(WebhookVerificationError):
        target.received[1].verified(webhook["secret"])

    change(Webhook, old_secret_until=utcnow())
    assert api.get(path).json()["old_secret_until"] is None
    api.post(f"{path}/test")
    deliver()
    assert target.received[2].verified(newest)
    with pytest.raises(WebhookVerificationError):
        target.received[2].verified(rotated["secret"])


def test_tried_again_by_the_schedule_until_it_ends(api: TestClient, target: Receiver) -> None:
    webhook = subscribe(api, target.url("/fail"))
    api.post(f"/webhooks/{webhook['id']}/test")
    delays = get_settings().webhooks.retry_seconds
    for number, delay in enumerate(delays, 1):
        deliver()
        deliver()  # it is not due
        (delivery,) = log(api, webhook)
        assert (delivery["status"], delivery["attempts"], delivery["status_code"]) == ("pending", number, 500)
        assert (delivery["answer"], delivery["error"]["type"]) == ("out of order", "refused")
        assert delay <= seconds_left(delivery) <= 1.2 * delay + 60
        due()
    deliver()
    (delivery,) = log(api, webhook)
    assert (delivery["status"], delivery["attempts"], delivery["next_attempt_at"]) == ("failed", len(delays) + 1, None)
    assert len({message.id for message in target.received}) == 1
    assert len(target.received) == len(delays) + 1
    assert api.get(f"/webhooks/{webhook['id']}").json()["enabled"] is True

    api.patch(f"/webhooks/{webhook['id']}", json={"url": target.url("/ok")})
    assert api.post(f"/webhooks/{webhook['id']}/deliveries/{delivery['id']}/retry").status_code == 202
    deliver()
    (delivery,) = log(api, webhook)
    assert (delivery["status"], delivery["error"]) == ("delivered", None)
    assert target.received[-1].id == delivery["id"]
    assert target.received[-1].verified(webhook["secret"])


def test_a_receiver_may_ask_for_a_longer_wait(api: TestClient, target: Receiver) -> None:
    webhook = subscribe(api, target.url("/busy"))
    api.post(f"/webhooks/{webhook['id']}/test")
    deliver()
    assert 3000 <= seconds_left(log(api, webhook)[0]) <= 3060


@pytest.mark.usefixtures("fresh_trust")
def test_what_keeps_a_sender_from_sending_is_in_the_log(api: TestClient, target: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    webhook = subscribe(api, target.url())
    api.post(f"/webhooks/{webhook['id']}/test")
    monkeypatch.setenv("SSL_CERT_FILE", "/nowhere/authority.pem")
    deliver()
    (delivery,) = log(api, webhook)
    assert (delivery["status"], delivery["attempts"], delivery["error"]["type"]) == ("pending", 1, "internal")
    assert target.received == []


def test_a_sender_waits_for_no_other(api: TestClient) -> None:
    """On SQLite it waits for the one write lock, so there is nothing to see."""
    webhook = subscribe(api, "https://93.184.216.34/")
    for _ in range(2):
        api.post(f"/webhooks/{webhook['id']}/test")
    with transaction() as session:
        if session.get_bind().dialect.name != "postgresql":
            pytest.skip("SQLite has one writer at a time")
        held = session.scalars(select(WebhookDelivery).limit(1).with_for_update()).one()
        (claimed,) = claim_now()
        assert claimed.id != held.id
    assert [claimed.id for claimed in claim_now()] == [held.id]


def test_gone_for_good(api: TestClient, target: Receiver) -> None:
    webhook = subscribe(api, target.url("/gone"))
    path = f"/webhooks/{webhook['id']}"
    api.post(f"{path}/test")
    deliver()
    found = api.get(path).json()
    assert (found["enabled"], found["disabled_reason"]) == (False, "The receiver answered 410 Gone.")
    (delivery,) = log(api, webhook)
    assert (delivery["status"], delivery["status_code"]) == ("failed", 410)
    again = api.patch(path, json={"enabled": True, "url": target.url("/ok")}).json()
    assert (again["enabled"], again["disabled_reason"], again["failing_since"]) == (True, None, None)


def test_disabled_after_days_of_failure(api: TestClient, target: Receiver) -> None:
    webhook = subscribe(api, target.url("/fail"))
    path = f"/webhooks/{webhook['id']}"
    for _ in range(2):
        api.post(f"{path}/test")
    deliver()
    assert api.get(path).json()["failing_since"] is not None
    change(Webhook, failing_since=utcnow() - timedelta(days=4))
    due()
    deliver()
    assert api.get(path).json()["enabled"] is True
    change(Webhook, failing_since=utcnow() - timedelta(days=6))
    due()
    deliver()
    found = api.get(path).json()
    assert found["enabled"] is False
    assert found["disabled_reason"].startswith("Every attempt since ")
    assert {delivery["status"] for delivery in log(api, webhook)} == {"failed"}


def test_a_success_ends_the_failure(api: TestClient, target: Receiver) -> None:
    webhook = subscribe(api, target.url("/ok"))
    change(Webhook, failing_since=utcnow() - timedelta(days=4))
    api.post(f"/webhooks/{webhook['id']}/test")
    deliver()
    assert api.get(f"/webhooks/{webhook['id']}").json()["failing_since"] is None


def test_a_sender_that_died_is_followed_by_another(api: TestClient, target: Receiver) -> None:
    webhook = subscribe(api, target.url())
    api.post(f"/webhooks/{webhook['id']}/test")
    (lost,) = claim_now()
    deliver()
    assert target.received == []  # the first may be at it
    due()
    deliver()
    (message,) = target.received
    assert message.id == lost.id
    (delivery,) = log(api, webhook)
    assert (delivery["status"], delivery["attempts"]) == ("delivered", 2)


def test_what_an_outdated_attempt_says(api: TestClient) -> None:
    webhook = subscribe(api, "https://93.184.216.34/")
    settings = get_settings().webhooks
    api.post(f"/webhooks/{webhook['id']}/test")
    (first,) = claim_now()
    due()
    (second,) = claim_now()
    failed, went_well = Outcome(500, "", {"type": "refused", "detail": "500"}), Outcome(204, "")
    with transaction() as session:
        record(session, first, failed, settings)
    assert log(api, webhook)[0]["status_code"] is None
    with transaction() as session:
        record(session, first, went_well, settings)
    with transaction() as session:
        record(session, second, failed, settings)
    (delivery,) = log(api, webhook)
    assert (delivery["status"], delivery["status_code"]) == ("delivered", 204)


def test_deleted_while_it_is_sent(api: TestClient, target: Receiver) -> None:
    webhook = subscribe(api, target.url())
    api.post(f"/webhooks/{webhook['id']}/test")
    (claimed,) = claim_now()
    assert api.delete(f"/webhooks/{webhook['id']}").status_code == 204
    with transaction() as session:
        record(session, claimed, Outcome(204, ""), get_settings().webhooks)
    assert count(WebhookDelivery) == 0


def test_several_senders_send_each_message_once(api: TestClient, target: Receiver) -> None:
    webhook = subscribe(api, target.url())
    for _ in range(20):
        api.post(f"/webhooks/{webhook['id']}/test")
    together(*[deliver] * 3)
    assert len(target.received) == len({message.id for message in target.received}) == 20
    assert {(delivery["status"], delivery["attempts"]) for delivery in log(api, webhook)} == {("delivered", 1)}


def test_told_while_it_is_deleted(api: TestClient) -> None:
    """A job is never stopped by somebody who deletes a webhook."""
    job = accepted(api)

    def tell() -> None:
        with transaction() as session:
            assert lifecycle.lock_job(session, job["id"]) is not None
            announce(session, job["id"], "job_cancelled")

    for _ in range(5):
        webhook = subscribe(api, "https://93.184.216.34/")
        delete = partial(api.delete, f"/webhooks/{webhook['id']}")
        answers: list[Any] = together(tell, delete, tell)
        assert answers[1].status_code == 204
    assert count(WebhookDelivery) == 0


def test_one_that_hangs_does_not_hold_up_the_others(api: TestClient, target: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = get_settings().webhooks
    monkeypatch.setattr(settings, "concurrency", 4)
    hangs, answers = subscribe(api, target.url("/hang")), subscribe(api, target.url("/ok"))
    for webhook in (hangs, hangs, hangs, hangs, answers):
        api.post(f"/webhooks/{webhook['id']}/test")
    with transaction() as session:
        first = claim_due(session, 4, {}, settings)
    assert [claimed.webhook_id for claimed in first] == [hangs["id"], hangs["id"], answers["id"]]
    with transaction() as session:
        assert claim_due(session, 1, {hangs["id"]: 2}, settings) == []
        assert [claimed.webhook_id for claimed in claim_due(session, 1, {hangs["id"]: 1}, settings)] == [hangs["id"]]


def test_old_messages_leave_the_log(api: TestClient) -> None:
    webhook = subscribe(api, "https://93.184.216.34/")
    old, kept = (api.post(f"/webhooks/{webhook['id']}/test").json()["id"] for _ in range(2))
    long_ago = utcnow() - timedelta(days=31)
    with transaction() as session:
        session.execute(update(WebhookDelivery).where(WebhookDelivery.id == old).values(created_at=long_ago))
        assert remove_old(session, get_settings().webhooks) == 0  # it is still to be sent
        session.execute(update(WebhookDelivery).values(status="delivered", next_at=None))
        assert remove_old(session, get_settings().webhooks) == 1
    assert [delivery["id"] for delivery in log(api, webhook)] == [kept]
