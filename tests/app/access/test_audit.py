"""Who did what."""

from starlette.testclient import TestClient

from tests.app.access.conftest import bearer, make_key
from tests.app.calls import BODY


def actions(client: TestClient, headers: dict[str, str], **query: str) -> list[tuple[str, str, str]]:
    items = client.get("/audit", params=query, headers=headers).json()["items"]
    return [(item["actor"], item["action"], item["subject"]) for item in reversed(items)]


def test_what_is_made_cancelled_and_deleted_is_written_with_the_key(api: TestClient) -> None:
    admin, writer = bearer(make_key("admin", name="ops")), bearer(make_key("write", name="ci"))
    answer = api.post("/jobs", json=BODY, headers=writer)
    job = answer.json()
    api.post(f"/jobs/{job['id']}/cancel", headers=writer)
    api.post(f"/jobs/{job['id']}/cancel", headers=writer)
    api.post(f"/jobs/{job['id']}/resume", headers=admin)
    api.post(f"/jobs/{job['id']}/cancel", headers=admin)
    assert api.delete(f"/jobs/{job['id']}", headers=admin).status_code == 204
    assert api.delete(f"/datasets/{job['dataset_id']}", headers=admin).status_code == 204
    assert actions(api, admin)[2:] == [
        ("ci", "dataset.created", job["dataset_id"]),
        ("ci", "job.created", job["id"]),
        ("ci", "job.cancelled", job["id"]),
        ("ops", "job.resumed", job["id"]),
        ("ops", "job.cancelled", job["id"]),
        ("ops", "job.deleted", job["id"]),
        ("ops", "dataset.deleted", job["dataset_id"]),
    ]
    created = api.get("/audit", params={"subject": job["id"]}, headers=admin).json()["items"][-1]
    assert created["request_id"] == answer.headers["x-request-id"]


def test_a_change_that_fails_leaves_no_entry(api: TestClient) -> None:
    admin = bearer(make_key("admin"))
    before = actions(api, admin)
    assert api.delete("/jobs/job_1", headers=admin).status_code == 404
    assert api.post("/jobs", json={**BODY, "name": "NOT A NAME"}, headers=admin).status_code == 422
    assert actions(api, admin) == before


def test_without_keys_the_log_says_so(client: TestClient) -> None:
    job = client.post("/jobs", json=BODY).json()
    assert ("anyone", "job.created", job["id"]) in actions(client, {})


def test_keys_are_in_the_log_too(api: TestClient) -> None:
    admin = bearer(make_key("admin", name="ops"))
    made = api.post("/keys", json={"name": "bot", "scopes": ["read"]}, headers=admin).json()
    api.delete(f"/keys/{made['id']}", headers=admin)
    assert actions(api, admin, subject=made["id"]) == [("ops", "key.created", made["id"]), ("ops", "key.revoked", made["id"])]
    assert api.get("/audit", params={"limit": 1}, headers=admin).json()["has_more"]
