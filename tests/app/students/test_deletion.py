"""DELETE of versions, students and aliases over HTTP."""

import pytest
from starlette.testclient import TestClient

from app.database import transaction
from app.tables import Alias, Student
from tests.app.calls import refused
from tests.app.students.published import publish


@pytest.fixture
def api(client: TestClient) -> TestClient:
    """Three versions of `triage`, one of `spam`."""
    for name, number in (("triage", 1), ("spam", 1), ("triage", 2), ("triage", 3)):
        publish(name, number)
    return client


def versions(api: TestClient) -> list[int]:
    return [version["version"] for version in api.get("/students/triage").json()["versions"]]


def aliases(api: TestClient) -> dict[str, int]:
    found: dict[str, int] = api.get("/students/triage").json()["aliases"]
    return found


def test_latest_moves_to_the_highest_version_left(api: TestClient) -> None:
    answer = api.delete("/students/triage/versions/3")
    assert (answer.status_code, answer.content) == (204, b"")
    assert (versions(api), aliases(api)) == ([2, 1], {"latest": 2})
    assert api.delete("/students/triage/versions/1").status_code == 204
    assert (versions(api), aliases(api)) == ([2], {"latest": 2})
    refused(api.delete("/students/triage/versions/1"), 404, "student-not-found")


def test_latest_stays_where_it_was_put(api: TestClient) -> None:
    api.put("/students/triage/aliases/latest", json={"version": 1})
    api.delete("/students/triage/versions/3")
    assert aliases(api) == {"latest": 1}


def test_the_last_version_takes_the_student_along(api: TestClient) -> None:
    for version in (1, 2, 3):
        assert api.delete(f"/students/triage/versions/{version}").status_code == 204
    refused(api.get("/students/triage"), 404, "student-not-found")
    assert [student["name"] for student in api.get("/students").json()["items"]] == ["spam"]
    with transaction() as session:
        assert [alias.name for alias in session.query(Alias)] == ["spam"]


def test_numbers_are_not_given_out_again(api: TestClient) -> None:
    api.delete("/students/triage/versions/3")
    publish("triage", 4)
    assert versions(api) == [4, 2, 1]
    api.delete("/students/triage/versions/1")
    assert api.delete("/students/triage").status_code == 204
    publish("triage", 5)
    assert (versions(api), aliases(api)) == ([5], {"latest": 5})


def test_a_version_that_an_alias_points_at_stays(api: TestClient) -> None:
    for alias in ("production", "canary"):
        api.put(f"/students/triage/aliases/{alias}", json={"version": 3})
    problem = refused(api.delete("/students/triage/versions/3"), 409, "version-in-use")
    assert "'canary'" in problem["detail"]
    assert "'production'" in problem["detail"]
    assert versions(api) == [3, 2, 1]
    api.put("/students/triage/aliases/canary", json={"version": 1})
    assert api.delete("/students/triage/aliases/production").status_code == 204
    assert api.delete("/students/triage/versions/3").status_code == 204
    assert aliases(api) == {"canary": 1, "latest": 2}


def test_a_student_goes_with_all_versions_and_aliases(api: TestClient) -> None:
    api.put("/students/triage/aliases/production", json={"version": 2})
    assert api.delete("/students/triage").status_code == 204
    refused(api.delete("/students/triage"), 404, "student-not-found")
    with transaction() as session:
        assert [student.name for student in session.query(Student)] == ["spam"]
        assert [alias.name for alias in session.query(Alias)] == ["spam"]


def test_aliases_that_cannot_be_deleted(api: TestClient) -> None:
    refused(api.delete("/students/triage/aliases/latest"), 422, "alias-required")
    assert "triage@latest" in refused(api.delete("/students/triage/aliases/best"), 404, "student-not-found")["remedy"]
    for name in ("nobody", "%00", "Triage"):
        refused(api.delete(f"/students/{name}/aliases/best"), 404, "student-not-found")


@pytest.mark.parametrize("name", ["nobody", "%00", "Triage", "x" * 300])
def test_an_unknown_student(api: TestClient, name: str) -> None:
    refused(api.delete(f"/students/{name}"), 404, "student-not-found")
    refused(api.delete(f"/students/{name}/versions/1"), 404, "student-not-found")


@pytest.mark.parametrize("version", ["0", "one", str(10**20)])
def test_a_version_that_is_none(api: TestClient, version: str) -> None:
    refused(api.delete(f"/students/triage/versions/{version}"), 422, "invalid-request")
