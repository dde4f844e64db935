"""Keys: made, listed, revoked, expired; and what the service keeps of them."""

import time
from datetime import timedelta

from fastapi import FastAPI
from sqlalchemy import event, text
from starlette.testclient import TestClient

from app.access.keyring import MISS_SECONDS, Keyring
from app.access.keys import make_key as new_key
from app.database import get_engine, transaction
from app.main import create_app
from app.tables import ApiKey, utcnow
from tests.app.access.conftest import bearer, make_key
from tests.app.calls import refused
from tests.waiting import together, wait_for


def keyring_of(client: TestClient) -> Keyring:
    assert isinstance(client.app, FastAPI)
    found: Keyring = client.app.state.keyring
    return found


def test_a_key_is_shown_once_and_kept_as_a_hash(api: TestClient) -> None:
    admin = bearer(make_key("admin"))
    made = api.post("/keys", json={"name": "bot", "scopes": ["predict"]}, headers=admin)
    assert made.status_code == 201
    secret = made.json()["key"].rpartition(f"gd_{made.json()['prefix']}_")[2]
    listed = api.get("/keys", headers=admin)
    assert secret not in listed.text
    assert [key["name"] for key in listed.json()["items"]] == ["bot", "a key"]
    with get_engine().connect() as connection:
        assert secret not in str(connection.execute(text("SELECT * FROM api_keys")).all())
        assert secret not in str(connection.execute(text("SELECT * FROM audit_log")).all())
    assert api.get("/jobs", headers=bearer(made.json()["key"])).status_code == 403


def test_a_revoked_key_is_out_at_once_and_stays_listed(api: TestClient) -> None:
    admin = bearer(make_key("admin"))
    made = api.post("/keys", json={"name": "bot", "scopes": ["read"]}, headers=admin).json()
    assert api.get("/jobs", headers=bearer(made["key"])).status_code == 200
    assert api.delete(f"/keys/{made['id']}", headers=admin).json()["revoked_at"]
    refused(api.get("/jobs", headers=bearer(made["key"])), 401, "unauthenticated")
    first = api.get("/keys", headers=admin).json()["items"][0]
    assert (first["id"], first["revoked_at"] is not None) == (made["id"], True)
    assert api.delete(f"/keys/{made['id']}", headers=admin).json() == first
    refused(api.delete("/keys/key_0", headers=admin), 404, "key-not-found")


def test_a_key_cannot_revoke_itself(lite: TestClient) -> None:
    admin = make_key("admin")
    own = lite.get("/keys", headers=bearer(admin)).json()["items"][0]["id"]
    refused(lite.delete(f"/keys/{own}", headers=bearer(admin)), 409, "key-in-use")


def test_another_process_learns_of_keys_within_a_second(lite: TestClient) -> None:
    admin = bearer(make_key("admin"))
    with TestClient(create_app()) as other:
        made = lite.post("/keys", json={"name": "bot", "scopes": ["read"]}, headers=admin).json()
        assert other.get("/jobs", headers=bearer(made["key"])).status_code == 200
        lite.delete(f"/keys/{made['id']}", headers=admin)
        wait_for(lambda: other.get("/jobs", headers=bearer(made["key"])).status_code == 401, what="the revocation")


def test_a_key_expires_while_it_is_known(lite: TestClient) -> None:
    moment = [utcnow()]
    keyring = Keyring(60, now=lambda: moment[0])
    with transaction() as session:
        made = new_key()
        row = ApiKey(
            id="key_1", prefix=made.prefix, digest=made.digest, name="bot", scopes=["read"], expires_at=moment[0] + timedelta(hours=1)
        )
        session.add(row)
    keyring.refresh()
    assert keyring.find(made.text)
    moment[0] += timedelta(hours=1)
    assert keyring.find(made.text) is None
    past = {"name": "late", "scopes": ["read"], "expires_at": (utcnow() - timedelta(minutes=1)).isoformat()}
    refused(lite.post("/keys", json=past, headers=bearer(make_key("admin"))), 422, "invalid-request")


def test_the_last_use_is_written_now_and_then_and_not_by_requests(api: TestClient) -> None:
    admin = bearer(make_key("admin"))
    keyring_of(api).stop()
    for _ in range(3):
        assert api.get("/keys", headers=admin).json()["items"][0]["last_used_at"] is None
    keyring_of(api).write_uses()
    assert api.get("/keys", headers=admin).json()["items"][0]["last_used_at"]


def test_many_who_try_keys_ask_the_database_no_more_often_than_one(lite: TestClient) -> None:
    keyring_of(lite).stop()
    asked: list[float] = []

    @event.listens_for(get_engine(), "before_cursor_execute")
    def noticed(_connection: object, _cursor: object, statement: str, *_rest: object) -> None:
        if "api_keys" in statement:
            asked.append(time.monotonic())

    began = time.monotonic()
    together(*[lambda: lite.get("/jobs", headers=bearer(new_key().text))] * 40)
    assert 1 <= len(asked) <= 1 + (time.monotonic() - began) / MISS_SECONDS


def test_known_keys_are_good_while_the_database_is_away(lite: TestClient) -> None:
    key = bearer(make_key("predict"))
    assert lite.post("/predict", json={"student": "none", "inputs": "a"}, headers=key).status_code == 404
    with get_engine().begin() as connection:
        connection.execute(text("ALTER TABLE api_keys RENAME TO elsewhere"))
    assert lite.post("/predict", json={"student": "none", "inputs": "a"}, headers=key).status_code == 404
    with get_engine().begin() as connection:
        connection.execute(text("ALTER TABLE elsewhere RENAME TO api_keys"))


def test_names_that_would_turn_the_text_around_are_refused(lite: TestClient) -> None:
    admin = bearer(make_key("admin"))
    for name in ("", "a\nb", "\u202egnp", "x" * 101, "\x00"):
        refused(lite.post("/keys", json={"name": name, "scopes": ["read"]}, headers=admin), 422, "invalid-request")
    for scopes in ([], ["root"], "read"):
        refused(lite.post("/keys", json={"name": "a", "scopes": scopes}, headers=admin), 422, "invalid-request")


def test_a_key_that_sends_more_than_it_may_is_told_when_to_try_again(lite: TestClient) -> None:
    slow, other = bearer(make_key("predict", texts_per_second=0.1)), bearer(make_key("predict"))
    body = {"student": "none", "inputs": ["a", "b"]}
    assert lite.post("/predict", json=body, headers=slow).status_code == 404
    answer = lite.post("/predict", json=body, headers=slow)
    refused(answer, 429, "rate-limited")
    assert 5 <= int(answer.headers["retry-after"]) <= 20
    message = [{"role": "user", "content": "a"}]
    chat = lite.post("/v1/chat/completions", json={"model": "none", "messages": message}, headers=slow)
    assert (chat.status_code, chat.json()["error"]["code"]) == (429, "rate_limit_exceeded")
    assert lite.post("/predict", json=body, headers=other).status_code == 404


def test_a_refusal_is_counted_by_its_route(lite: TestClient) -> None:
    lite.get("/jobs/1")
    lite.get("/no/such/route")
    metrics = lite.get("/metrics", headers=bearer(make_key("metrics"))).text
    counted = [line for line in metrics.splitlines() if line.startswith("gendistil_http_requests_total{") and 'status="401"' in line]
    assert [part in counted[0] for part in ('method="GET"', 'route="/jobs/{job_id}"')] == [True, True]
    assert 'route="unmatched"' in counted[1]
