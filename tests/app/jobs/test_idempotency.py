"""`Idempotency-Key` over HTTP, on both databases."""

import json
from datetime import timedelta
from functools import partial
from typing import Any

import pytest
import redis
from sqlalchemy import update
from starlette.testclient import TestClient

from app.config import get_settings
from app.database import session_factory, transaction
from app.tables import Dataset, IdempotencyKey, Job, utcnow
from tests.app.calls import BODY, ROWS, count, refused
from tests.waiting import together

KEY = "0b0c5b2e-1f7a-4a53-9d6c-0d0f5f2d7a11"


def post(api: TestClient, key: str = KEY, path: str = "/jobs", **changes: Any) -> Any:
    return api.post(path, json={**BODY, **changes}, headers={b"Idempotency-Key": key.encode("latin-1")})


def test_the_same_request_gets_the_same_job_and_runs_once(api: TestClient, redis_url: str) -> None:
    first = post(api)
    assert first.status_code == 202
    assert "idempotency-replayed" not in first.headers
    api.post(f"/jobs/{first.json()['id']}/cancel")
    again = post(api)
    assert (again.status_code, again.headers["idempotency-replayed"]) == (202, "true")
    assert again.json() == first.json()
    assert again.headers["location"] == first.headers["location"]
    assert count(Job) == 1
    with redis.Redis.from_url(redis_url) as client:
        assert client.llen("gpu") == 2
    assert post(api, key="another").json()["id"] != first.json()["id"]


def test_a_form_has_another_boundary_each_time_and_is_the_same_request(api: TestClient) -> None:
    csv = "text,label\n" + "".join(f"{row['text']},{row['label']}\n" for row in ROWS)

    def send(preset: str, boundary: str) -> Any:
        fields = {"name": "triage", "preset": preset}
        parts = [f'Content-Disposition: form-data; name="{name}"\r\n\r\n{value}' for name, value in fields.items()]
        parts.append(f'Content-Disposition: form-data; name="file"; filename="rows.csv"\r\n\r\n{csv}')
        content = "".join(f"--{boundary}\r\n{part}\r\n" for part in parts) + f"--{boundary}--\r\n"
        headers = {"Idempotency-Key": KEY, "Content-Type": f"multipart/form-data; boundary={boundary}"}
        return api.post("/jobs", content=content.encode(), headers=headers)

    first = send("fast", "one")
    assert first.status_code == 202, first.text
    assert send("fast", "two").json()["id"] == first.json()["id"]
    refused(send("balanced", "three"), 422, "idempotency-key-reused")


def test_another_request_under_the_same_key_is_refused(api: TestClient) -> None:
    post(api)
    for changes in (
        {"name": "other"},
        {"spec": {"distil": {"student": "bag"}}},
        {"dataset": {"rows": ROWS[1:]}},
        {"replace_dataset": True},
    ):
        refused(post(api, **changes), 422, "idempotency-key-reused")
    answer = api.post("/datasets", json={"rows": ROWS}, headers={"Idempotency-Key": KEY})
    refused(answer, 422, "idempotency-key-reused")
    assert (count(Job), count(Dataset), count(IdempotencyKey)) == (1, 1, 1)


def test_a_request_that_was_refused_leaves_no_trace(api: TestClient) -> None:
    refused(post(api, dataset={"rows": ROWS[:6]}), 422, "too-few-classes")
    refused(post(api, dataset="ds_0"), 404, "dataset-not-found")
    assert count(IdempotencyKey) == 0
    assert "idempotency-replayed" not in post(api).headers


def test_a_dataset_is_answered_again(api: TestClient) -> None:
    answers = [api.post("/datasets", json={"rows": ROWS}, headers={"Idempotency-Key": KEY}) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [201, 201]
    assert [answer.headers.get("idempotency-replayed") for answer in answers] == [None, "true"]
    assert answers[0].json() == answers[1].json()
    assert answers[0].headers["location"] == answers[1].headers["location"] == f"/datasets/{answers[0].json()['id']}"


def test_requests_at_the_same_time_make_one_job(api: TestClient) -> None:
    answers = together(*[partial(post, api)] * 4)
    assert [answer.status_code for answer in answers] == [202] * 4
    assert len({answer.json()["id"] for answer in answers}) == 1
    assert sum("idempotency-replayed" in answer.headers for answer in answers) == 3
    assert count(Job) == 1


def test_a_request_that_takes_long_sends_the_second_away(api: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    if get_settings().resolved_database_url().startswith("sqlite"):
        pytest.skip("SQLite has one writer at a time, whatever its key")
    monkeypatch.setattr("app.idempotency.WAIT_SECONDS", 1)
    with session_factory()() as working, working.begin():
        working.add(IdempotencyKey(key=KEY, fingerprint="f"))
        working.flush()
        answer = post(api)
        refused(answer, 409, "request-in-progress")
        assert int(answer.headers["retry-after"]) > 0
        working.rollback()
    assert post(api).status_code == 202


def test_a_key_is_forgotten_after_a_day(api: TestClient) -> None:
    first = post(api).json()["id"]
    with transaction() as session:
        session.execute(update(IdempotencyKey).values(created_at=utcnow() - timedelta(hours=23, minutes=59)))
    assert post(api).json()["id"] == first
    with transaction() as session:
        session.execute(update(IdempotencyKey).values(created_at=utcnow() - timedelta(hours=24, minutes=1)))
    second = post(api, spec={"distil": {"student": "bag"}})
    assert second.status_code == 202
    assert second.json()["id"] != first
    assert count(IdempotencyKey) == 1


def test_the_key_of_a_deleted_job_makes_a_new_one(api: TestClient) -> None:
    first = post(api).json()["id"]
    api.post(f"/jobs/{first}/cancel")
    assert api.delete(f"/jobs/{first}").status_code == 204
    assert post(api).json()["id"] != first


@pytest.mark.parametrize("key", ["", "x" * 256, "schlüssel", "a\tb"])
def test_a_key_that_is_none(api: TestClient, key: str) -> None:
    for path in ("/jobs", "/datasets"):
        problem = refused(post(api, key=key, path=path), 400, "invalid-idempotency-key")
        assert problem["errors"][0]["column"] == "Idempotency-Key"
    assert count(Job) == 0


def test_the_longest_key(api: TestClient) -> None:
    key = "~ " + "x" * 253
    first = post(api, key=key)
    assert first.status_code == 202, json.dumps(first.json())
    assert post(api, key=key).json()["id"] == first.json()["id"]
