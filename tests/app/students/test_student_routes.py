"""Published versions and their aliases over HTTP."""

import pytest
from starlette.testclient import TestClient

from tests.app.calls import refused
from tests.app.students.published import MANIFEST, publish


@pytest.fixture
def api(client: TestClient) -> TestClient:
    """Two versions of `triage`, one of `spam`."""
    for name, number in (("triage", 1), ("spam", 1), ("triage", 2)):
        publish(name, number)
    return client


def test_a_student_with_its_versions(api: TestClient) -> None:
    student = api.get("/students/triage").json()
    assert student["aliases"] == {"latest": 2}
    assert [version["version"] for version in student["versions"]] == [2, 1]
    version = student["versions"][0]
    assert {key: version[key] for key in ("kind", "parameters", "bytes", "metrics")} == {
        key: MANIFEST[key] for key in ("kind", "parameters", "bytes", "metrics")
    }
    assert version["job_id"] == "job_triage_2"
    assert version["created_at"]


def test_students_are_listed_by_name_in_pages(api: TestClient) -> None:
    first = api.get("/students", params={"limit": 1}).json()
    assert [student["name"] for student in first["items"]] == ["spam"]
    assert first["has_more"]
    second = api.get("/students", params={"limit": 1, "after": first["next_after"]}).json()
    assert [student["name"] for student in second["items"]] == ["triage"]
    assert not second["has_more"]
    refused(api.get("/students", params={"after": "\x00"}), 422, "unknown-cursor")


def test_nothing_is_published_at_first(client: TestClient) -> None:
    assert client.get("/students").json() == {"items": [], "has_more": False, "next_after": None}


def test_an_alias_is_made_and_moved(api: TestClient) -> None:
    made = api.put("/students/triage/aliases/production", json={"version": 1})
    assert made.status_code == 200
    assert made.json()["version"] == 1
    moved = api.put("/students/triage/aliases/production", json={"version": 2}).json()
    assert moved["updated_at"] > made.json()["updated_at"]
    api.put("/students/triage/aliases/latest", json={"version": 1})
    assert api.get("/students/triage").json()["aliases"] == {"latest": 1, "production": 2}
    publish("triage", 3)
    assert api.get("/students/triage").json()["aliases"] == {"latest": 3, "production": 2}


def test_aliases_that_cannot_be(api: TestClient) -> None:
    assert "triage:1" in refused(api.put("/students/triage/aliases/best", json={"version": 9}), 404, "student-not-found")["remedy"]
    assert "triage" in refused(api.put("/students/triages/aliases/best", json={"version": 1}), 404, "student-not-found")["remedy"]
    for alias in ("1", "Best", "a:b", "%00", "x" * 64):
        refused(api.put(f"/students/triage/aliases/{alias}", json={"version": 1}), 422, "invalid-request")
    for body in ({"version": 0}, {"version": "one"}, {}, {"version": 1, "colour": 1}, {"version": 10**20}):
        refused(api.put("/students/triage/aliases/best", json=body), 422, "invalid-request")
    assert api.get("/students/triage").json()["aliases"] == {"latest": 2}


@pytest.mark.parametrize("name", ["nobody", "%00", "Triage", "x" * 300])
def test_an_unknown_student(api: TestClient, name: str) -> None:
    refused(api.get(f"/students/{name}"), 404, "student-not-found")
