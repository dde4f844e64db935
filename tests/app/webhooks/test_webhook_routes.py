"""`/webhooks`, on both databases."""

import base64
from typing import Any

import pytest
from starlette.testclient import TestClient

from app.tables import Webhook, WebhookDelivery
from tests.app.calls import count, refused
from tests.app.webhooks.conftest import log, subscribe
from tests.app.webhooks.names import Names
from tests.conftest import clear_caches

PUBLIC = "https://93.184.216.34/hook"
EVENTS = ["job.started", "stage.finished", "job.succeeded", "job.failed", "job.cancelled"]


def test_the_secret_is_shown_once(api: TestClient) -> None:
    made = subscribe(api, PUBLIC, events=["job.failed"], student="triage", description="the team's chat")
    assert len(base64.b64decode(made["secret"].removeprefix("whsec_"), validate=True)) == 32
    assert made["id"].startswith("wh_")
    secret = made.pop("secret")
    found = api.get(f"/webhooks/{made['id']}")
    assert found.json() == made
    assert (made["events"], made["student"], made["enabled"]) == (["job.failed"], "triage", True)
    for text in (found.text, api.get("/webhooks").text, api.patch(f"/webhooks/{made['id']}", json={}).text):
        assert secret not in text
        assert "whsec_" not in text


def test_all_events_unless_some_are_named(api: TestClient) -> None:
    made = subscribe(api, PUBLIC)
    assert (made["events"], made["student"], made["description"]) == (EVENTS, None, "")


@pytest.mark.parametrize(
    "url",
    ["https://10.0.0.1/hook", "http://93.184.216.34/hook", "https://169.254.169.254/", "https://u:p@93.184.216.34/", "https://[::1]/"],
)
def test_an_address_that_no_message_may_go_to(api: TestClient, url: str) -> None:
    problem = refused(api.post("/webhooks", json={"url": url}), 422, "webhook-address-refused")
    assert problem["errors"][0]["column"] == "url"
    made = subscribe(api, PUBLIC)
    refused(api.patch(f"/webhooks/{made['id']}", json={"url": url}), 422, "webhook-address-refused")
    assert api.get(f"/webhooks/{made['id']}").json()["url"] == PUBLIC
    assert count(Webhook) == 1


def test_a_name_that_means_something_private(api: TestClient, names: Names) -> None:
    names.answers["hooks.test"] = [["192.168.1.1"]]
    problem = refused(api.post("/webhooks", json={"url": "https://hooks.test/"}), 422, "webhook-address-refused")
    assert "GENDISTIL_WEBHOOKS__ALLOWED_NETWORKS" in problem["remedy"]


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"url": "not an address"},
        {"url": "ftp://93.184.216.34/"},
        {"url": PUBLIC, "events": []},
        {"url": PUBLIC, "events": ["job.exploded"]},
        {"url": PUBLIC, "student": "No Name"},
        {"url": PUBLIC, "description": "a\0b"},
        {"url": PUBLIC, "secret": "whsec_mine"},
        {"url": f"https://93.184.216.34/{'a' * 2000}"},
    ],
)
def test_what_is_no_webhook(api: TestClient, body: dict[str, Any]) -> None:
    refused(api.post("/webhooks", json=body), 422, "invalid-request")


def test_changes(api: TestClient) -> None:
    made = subscribe(api, PUBLIC, student="triage", description="old")
    path = f"/webhooks/{made['id']}"
    changed = api.patch(path, json={"events": ["job.failed"], "description": "new"}).json()
    assert (changed["url"], changed["events"], changed["student"], changed["description"]) == (PUBLIC, ["job.failed"], "triage", "new")
    assert api.patch(path, json={"student": None}).json()["student"] is None
    assert api.patch(path, json={"url": "https://8.8.8.8/"}).json()["url"] == "https://8.8.8.8/"
    assert api.get(path).json()["description"] == "new"
    for name in ("url", "events", "description", "enabled"):
        refused(api.patch(path, json={name: None}), 422, "invalid-request")


def test_the_newest_first_in_pages(api: TestClient) -> None:
    ids = [subscribe(api, PUBLIC)["id"] for _ in range(3)]
    first = api.get("/webhooks", params={"limit": 2}).json()
    assert [item["id"] for item in first["items"]] == [ids[2], ids[1]]
    second = api.get("/webhooks", params={"limit": 2, "after": first["next_after"]}).json()
    assert ([item["id"] for item in second["items"]], second["has_more"]) == ([ids[0]], False)
    refused(api.get("/webhooks", params={"after": "wh_none"}), 422, "unknown-cursor")


def test_the_log_in_pages(api: TestClient) -> None:
    made = subscribe(api, PUBLIC)
    path = f"/webhooks/{made['id']}/deliveries"
    sent = [api.post(f"/webhooks/{made['id']}/test").json()["id"] for _ in range(3)]
    first = api.get(path, params={"limit": 2}).json()
    assert [item["id"] for item in first["items"]] == [sent[2], sent[1]]
    assert [item["id"] for item in api.get(path, params={"after": first["next_after"]}).json()["items"]] == [sent[0]]
    assert len(api.get(path, params={"status": "pending"}).json()["items"]) == 3
    assert api.get(path, params={"status": "failed"}).json()["items"] == []
    refused(api.get(path, params={"after": "msg_none"}), 422, "unknown-cursor")
    other = subscribe(api, PUBLIC)
    refused(api.get(f"/webhooks/{other['id']}/deliveries", params={"after": sent[0]}), 422, "unknown-cursor")


def test_what_is_not_there(api: TestClient) -> None:
    made = subscribe(api, PUBLIC)
    for id in ("wh_none", "wh_%00", "wh_%C3%A4"):
        refused(api.get(f"/webhooks/{id}"), 404, "webhook-not-found")
        refused(api.patch(f"/webhooks/{id}", json={"description": "x"}), 404, "webhook-not-found")
        refused(api.delete(f"/webhooks/{id}"), 404, "webhook-not-found")
        refused(api.get(f"/webhooks/{id}/deliveries"), 404, "webhook-not-found")
        for action in ("rotate", "test", "deliveries/msg_none/retry"):
            refused(api.post(f"/webhooks/{id}/{action}"), 404, "webhook-not-found")
    refused(api.post(f"/webhooks/{made['id']}/deliveries/msg_none/retry"), 404, "delivery-not-found")
    delivery = api.post(f"/webhooks/{made['id']}/test").json()
    other = subscribe(api, PUBLIC)
    refused(api.post(f"/webhooks/{other['id']}/deliveries/{delivery['id']}/retry"), 404, "delivery-not-found")


def test_deleted_with_its_log(api: TestClient) -> None:
    made = subscribe(api, PUBLIC)
    assert api.post(f"/webhooks/{made['id']}/test").status_code == 202
    assert api.delete(f"/webhooks/{made['id']}").status_code == 204
    assert count(Webhook) == count(WebhookDelivery) == 0


def test_disabled_it_gives_up_what_is_pending(api: TestClient) -> None:
    made = subscribe(api, PUBLIC)
    path = f"/webhooks/{made['id']}"
    delivery = api.post(f"{path}/test").json()
    assert (delivery["type"], delivery["status"], delivery["attempts"]) == ("webhook.test", "pending", 0)
    disabled = api.patch(path, json={"enabled": False}).json()
    assert (disabled["enabled"], disabled["disabled_reason"]) == (False, None)
    (given_up,) = log(api, made)
    assert (given_up["status"], given_up["error"]["type"], given_up["next_attempt_at"]) == ("failed", "webhook-disabled", None)
    refused(api.post(f"{path}/test"), 409, "webhook-disabled")
    refused(api.post(f"{path}/deliveries/{delivery['id']}/retry"), 409, "webhook-disabled")
    assert api.patch(path, json={"enabled": True}).json()["enabled"] is True
    again = api.post(f"{path}/deliveries/{delivery['id']}/retry").json()
    assert (again["id"], again["status"], again["finished_at"]) == (delivery["id"], "pending", None)


def test_no_more_than_the_settings_allow(api: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GENDISTIL_WEBHOOKS__MAX_WEBHOOKS", "1")
    clear_caches()
    subscribe(api, PUBLIC)
    problem = refused(api.post("/webhooks", json={"url": PUBLIC}), 409, "too-many-webhooks")
    assert "GENDISTIL_WEBHOOKS__MAX_WEBHOOKS" in problem["detail"]
