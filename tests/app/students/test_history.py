"""The history of aliases, and the way back, over HTTP."""

from collections.abc import Iterator
from typing import Any

import pytest
from starlette.testclient import TestClient

from app.config import Settings
from app.database import transaction
from app.main import create_app
from app.students.history import way_back
from app.tables import Alias, AliasMove
from tests.app.calls import refused
from tests.app.students.published import publish
from tests.waiting import together

PRODUCTION = "/students/triage/aliases/production"


@pytest.fixture
def api(each_service_env: Settings) -> Iterator[TestClient]:
    """Four versions of `triage`, on SQLite and on PostgreSQL in turn."""
    for number in (1, 2, 3, 4):
        publish("triage", number)
    with TestClient(create_app()) as client:
        yield client


def put(api: TestClient, *versions: int, alias: str = "production") -> None:
    for version in versions:
        assert api.put(f"/students/triage/aliases/{alias}", json={"version": version}).status_code == 200


def rollback(api: TestClient, alias: str = "production", **body: Any) -> int:
    answer = api.post(f"/students/triage/aliases/{alias}/rollback", **({"json": body} if body else {}))
    assert answer.status_code == 200, answer.text
    version: int = answer.json()["version"]
    assert api.get("/students/triage").json()["aliases"][alias] == version
    return version


def history(api: TestClient, alias: str = "production") -> list[tuple[int | None, int | None, str, str | None]]:
    items = api.get(f"/students/triage/aliases/{alias}/history").json()["items"]
    return [(item["from_version"], item["to_version"], item["cause"], item["reason"]) for item in items]


def test_each_move_is_kept_with_its_reason(api: TestClient) -> None:
    put(api, 1)
    api.put(PRODUCTION, json={"version": 3, "reason": "checked by hand"})
    put(api, 3)  # where it is already
    assert rollback(api, reason="customers complain") == 1
    assert api.delete(PRODUCTION).status_code == 204
    assert history(api) == [
        (1, None, "delete", None),
        (3, 1, "rollback", "customers complain"),
        (1, 3, "caller", "checked by hand"),
        (None, 1, "caller", None),
    ]
    assert [move[:3] for move in history(api, "latest")] == [(3, 4, "publish"), (2, 3, "publish"), (1, 2, "publish"), (None, 1, "publish")]


def test_the_history_comes_in_pages(api: TestClient) -> None:
    put(api, 1, 2, 3)
    first = api.get(f"{PRODUCTION}/history", params={"limit": 2}).json()
    assert [item["to_version"] for item in first["items"]] == [3, 2]
    assert first["has_more"]
    second = api.get(f"{PRODUCTION}/history", params={"limit": 2, "after": first["next_after"]}).json()
    assert ([item["to_version"] for item in second["items"]], second["has_more"]) == ([1], False)


def test_each_rollback_goes_further_back(api: TestClient) -> None:
    put(api, 1, 2, 4)
    assert [rollback(api), rollback(api)] == [2, 1]
    problem = refused(api.post(f"{PRODUCTION}/rollback"), 409, "no-earlier-version")
    assert "version 1" in problem["detail"]
    put(api, 3)
    assert rollback(api) == 1


def test_latest_rolls_back_what_was_published(api: TestClient) -> None:
    assert [rollback(api, "latest"), rollback(api, "latest")] == [3, 2]
    publish("triage", 5)
    assert [rollback(api, "latest"), rollback(api, "latest")] == [2, 1]


def test_deleted_versions_are_passed_over(api: TestClient) -> None:
    put(api, 1, 2, 3, 4)
    for version in (2, 3):
        assert api.delete(f"/students/triage/versions/{version}").status_code == 204
    assert rollback(api) == 1
    assert api.delete("/students/triage/versions/4").status_code == 204
    assert history(api, "latest")[0] == (4, 1, "delete", "version 4 was deleted")
    refused(api.post("/students/triage/aliases/latest/rollback"), 409, "no-earlier-version")


def test_a_rollback_never_leads_to_a_version_that_goes_meanwhile(api: TestClient) -> None:
    put(api, 1, 2, 3)
    rolled, deleted = together(lambda: api.post(f"{PRODUCTION}/rollback"), lambda: api.delete("/students/triage/versions/2"))
    # Either the alias was there first, or the version was gone first.
    outcome = (rolled.status_code, rolled.json()["version"], deleted.status_code)
    assert outcome in {(200, 2, 409), (200, 1, 204)}
    student = api.get("/students/triage").json()
    assert student["aliases"]["production"] == outcome[1]
    assert outcome[1] in [version["version"] for version in student["versions"]]


def test_an_alias_that_was_deleted_begins_anew(api: TestClient) -> None:
    put(api, 1, 2)
    api.delete(PRODUCTION)
    refused(api.post(f"{PRODUCTION}/rollback"), 404, "student-not-found")
    put(api, 3)
    refused(api.post(f"{PRODUCTION}/rollback"), 409, "no-earlier-version")


def test_an_alias_older_than_its_history_can_go_back(api: TestClient) -> None:
    with transaction() as session:
        session.add(Alias(name="triage", alias="old", version=2))
    assert history(api, "old") == []
    refused(api.post("/students/triage/aliases/old/rollback"), 409, "no-earlier-version")
    put(api, 4, alias="old")
    assert rollback(api, "old") == 2


def test_the_history_outlives_the_student(api: TestClient) -> None:
    assert api.delete("/students/triage").status_code == 204
    assert history(api, "latest")[0] == (4, None, "delete", "all versions were deleted")
    publish("triage", 5)
    refused(api.post("/students/triage/aliases/latest/rollback"), 409, "no-earlier-version")


@pytest.mark.parametrize("path", ["triages/aliases/latest", "triage/aliases/best", "%00/aliases/latest", "triage/aliases/%00"])
def test_what_there_never_was(api: TestClient, path: str) -> None:
    refused(api.get(f"/students/{path}/history"), 404, "student-not-found")
    refused(api.post(f"/students/{path}/rollback"), 404, "student-not-found")


@pytest.mark.parametrize("reason", ["", "x" * 501, "a\x00b", 1])
def test_reasons_that_cannot_be_kept(api: TestClient, reason: Any) -> None:
    refused(api.put(PRODUCTION, json={"version": 1, "reason": reason}), 422, "invalid-request")
    refused(api.post("/students/triage/aliases/latest/rollback", json={"reason": reason}), 422, "invalid-request")


def test_a_caller_who_points_back_has_moved_on() -> None:
    moves = [
        AliasMove(from_version=None, to_version=1, cause="caller"),
        AliasMove(from_version=1, to_version=2, cause="caller"),
        AliasMove(from_version=2, to_version=1, cause="caller"),
    ]
    assert way_back(moves) == [1, 2, 1]
