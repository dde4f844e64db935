"""Projects: made, given keys and quotas, and deleted once they are empty."""

from typing import Any

import pytest
from starlette.testclient import TestClient

from app.access.project_schemas import ProjectIn
from app.access.projects import DROPPED, HELD, create_project
from app.database import transaction
from app.ownership import Owned, in_project
from app.tables import ApiKey, AuditEntry, Base, Event, IdempotencyKey, OpenAiJob, Project, StageRun, Usage, WebhookDelivery
from tests.app.access.conftest import bearer, make_key
from tests.app.calls import BODY, refused
from tests.waiting import together

Headers = dict[str, str]


@pytest.fixture
def operator(api: TestClient) -> Headers:
    return bearer(make_key("operator", name="ops"))


def made(api: TestClient, operator: Headers, id: str = "support", **quotas: Any) -> dict[str, Any]:
    answer = api.post("/projects", json={"id": id, **quotas}, headers=operator)
    assert answer.status_code == 201, answer.text
    found: dict[str, Any] = answer.json()
    return found


def key_of(api: TestClient, operator: Headers, project: str = "support", *scopes: str) -> dict[str, Any]:
    body = {"name": f"of {project}", "scopes": scopes or ["admin"], "project": project}
    answer = api.post("/keys", json=body, headers=operator)
    assert answer.status_code == 201, answer.text
    assert answer.json()["project"] == project
    found: dict[str, Any] = answer.json()
    return found


def names(api: TestClient, path: str, headers: Headers, field: str, **query: str) -> set[str]:
    answer = api.get(path, params=query, headers=headers)
    assert answer.status_code == 200, answer.text
    return {item[field] for item in answer.json()["items"]}


def test_a_key_of_another_project_sees_nothing_of_the_default_one_and_the_other_way_round(api: TestClient, operator: Headers) -> None:
    made(api, operator)
    theirs = bearer(key_of(api, operator)["key"])
    ours = bearer(make_key("admin", name="ours"))
    here, there = (api.post("/jobs", json=BODY, headers=headers).json() for headers in (ours, theirs))
    assert names(api, "/jobs", theirs, "id") == {there["id"]}
    assert names(api, "/jobs", ours, "id") == names(api, "/jobs", operator, "id") == {here["id"]}
    assert here["dataset_id"] != there["dataset_id"]
    for headers, job in ((theirs, here), (ours, there)):
        refused(api.get(f"/jobs/{job['id']}", headers=headers), 404, "job-not-found")
        refused(api.get(f"/datasets/{job['dataset_id']}", headers=headers), 404, "dataset-not-found")
    assert names(api, "/keys", theirs, "name") == {"of support"}
    assert names(api, "/keys", ours, "name") == {"ours", "ops"}
    assert names(api, "/keys", operator, "name", project="support") == {"of support"}
    assert names(api, "/audit", theirs, "action") == {"project.created", "key.created", "dataset.created", "job.created"}
    assert names(api, "/audit", ours, "project") == {"default"}
    assert names(api, "/audit", operator, "project", project="support") == {"support"}


def test_an_admin_makes_no_key_that_may_more_than_its_own(api: TestClient, operator: Headers) -> None:
    made(api, operator)
    admin, theirs = bearer(make_key("admin")), bearer(key_of(api, operator)["key"])
    for headers, own, other in ((admin, "default", "support"), (theirs, "support", "default")):
        assert api.post("/keys", json={"name": "a", "scopes": ["read"], "project": own}, headers=headers).json()["project"] == own
        assert api.post("/keys", json={"name": "a", "scopes": ["write"]}, headers=headers).json()["project"] == own
        for body in ({"project": other}, {"project": "nowhere"}, {"scopes": ["operator"]}, {"scopes": ["read", "metrics"]}):
            refused(api.post("/keys", json={"name": "a", "scopes": ["read"], **body}, headers=headers), 403, "scope-missing")
        for path in ("/keys", "/audit"):
            refused(api.get(path, params={"project": other}, headers=headers), 403, "scope-missing")
    unknown = api.post("/keys", json={"name": "a", "scopes": ["read"], "project": "nowhere"}, headers=operator)
    refused(unknown, 404, "project-not-found")
    assert key_of(api, operator, "support", "operator")["scopes"] == ["operator"]


def test_an_operator_revokes_any_key_and_an_admin_none_that_may_more(api: TestClient, operator: Headers) -> None:
    made(api, operator)
    theirs, another = key_of(api, operator), key_of(api, operator, "support", "read")
    admin = bearer(make_key("admin"))
    refused(api.delete(f"/keys/{theirs['id']}", headers=admin), 404, "key-not-found")
    ops = next(key["id"] for key in api.get("/keys", headers=admin).json()["items"] if key["name"] == "ops")
    refused(api.delete(f"/keys/{ops}", headers=bearer(theirs["key"])), 404, "key-not-found")
    refused(api.delete(f"/keys/{ops}", headers=admin), 403, "scope-missing")
    assert api.delete(f"/keys/{another['id']}", headers=bearer(theirs["key"])).json()["revoked_at"]
    assert api.delete(f"/keys/{theirs['id']}", headers=operator).json()["project"] == "support"
    refused(api.get("/jobs", headers=bearer(theirs["key"])), 401, "unauthenticated")
    log = api.get("/audit", params={"project": "support", "subject": theirs["id"]}, headers=operator).json()["items"]
    assert [(entry["actor"], entry["action"]) for entry in log] == [("ops", "key.revoked"), ("ops", "key.created")]


def test_projects_are_for_operators_but_a_key_sees_its_own(api: TestClient, operator: Headers) -> None:
    quotas = {"jobs_open": 3, "bytes": 10**12, "texts_per_second": 0.5}
    project = made(api, operator, **quotas)
    assert project == {**project, **quotas, "jobs_running": None, "rows": None, "minutes_per_month": None}
    writer = bearer(key_of(api, operator, "support", "write")["key"])
    assert api.post("/jobs", json=BODY, headers=writer).status_code == 202
    reader = bearer(key_of(api, operator, "support", "read")["key"])
    found = api.get("/projects/support", headers=operator).json()
    assert found == {**project, "usage": found["usage"]}
    assert (found["usage"]["jobs_open"], found["usage"]["rows"]) == (1, len(BODY["dataset"]["rows"]))
    assert api.get("/projects/default", headers=operator).json()["usage"]["rows"] == 0
    assert api.get("/projects/support", headers=reader).json() == api.get("/projects/support", headers=operator).json()
    refused(api.get("/projects/default", headers=reader), 404, "project-not-found")
    admin = bearer(key_of(api, operator)["key"])
    for answer in (
        api.get("/projects", headers=admin),
        api.post("/projects", json={"id": "mine"}, headers=admin),
        api.patch("/projects/support", json={"jobs_open": None}, headers=admin),
        api.delete("/projects/support", headers=admin),
    ):
        refused(answer, 403, "scope-missing")


def test_quotas_are_changed_and_lifted_one_by_one(api: TestClient, operator: Headers) -> None:
    made(api, operator, jobs_open=3, rows=1000)
    changed = api.patch("/projects/support", json={"jobs_open": None, "minutes_per_month": 1.5}, headers=operator).json()
    assert (changed["jobs_open"], changed["rows"], changed["minutes_per_month"]) == (None, 1000, 1.5)
    assert api.patch("/projects/default", json={"jobs_running": 2}, headers=operator).json()["jobs_running"] == 2
    wrong = [{"jobs_open": -1}, {"texts_per_second": 0}, {"rows": 2**63}, {"jobs_open": 2**31}, {"jobs": 1}, {"id": "other"}]
    for body in (*wrong, {"rows": False}, {"minutes_per_month": "7"}, {"bytes": 1.5}):
        refused(api.patch("/projects/support", json=body, headers=operator), 422, "invalid-request")
    log = api.get("/audit", params={"project": "support"}, headers=operator).json()["items"]
    assert [(entry["action"], entry["detail"]) for entry in log] == [
        ("project.changed", {"quotas": {"jobs_open": None, "minutes_per_month": 1.5}}),
        ("project.created", {"quotas": {"jobs_open": 3, "rows": 1000}}),
    ]


def test_a_projects_rate_holds_for_all_its_keys_at_once(api: TestClient, operator: Headers) -> None:
    made(api, operator)
    keys = [bearer(key_of(api, operator, "support", "predict")["key"]) for _ in range(2)]
    body = {"student": "none", "inputs": ["a", "b"]}
    assert [api.post("/predict", json=body, headers=key).status_code for key in keys] == [404, 404]
    api.patch("/projects/support", json={"texts_per_second": 0.1}, headers=operator)
    assert [api.post("/predict", json=body, headers=key).status_code for key in keys] == [404, 429]
    api.patch("/projects/support", json={"texts_per_second": None}, headers=operator)
    assert api.post("/predict", json=body, headers=keys[1]).status_code == 404


def test_a_project_is_deleted_once_it_is_empty_and_its_id_is_not_given_out_again(api: TestClient, operator: Headers) -> None:
    made(api, operator)
    key = key_of(api, operator)
    theirs = bearer(key["key"])
    job = api.post("/jobs", json=BODY, headers={**theirs, "Idempotency-Key": "once"}).json()
    hook = api.post("/webhooks", json={"url": "https://93.184.216.34/hook"}, headers=theirs).json()
    told = refused(api.delete("/projects/support", headers=operator), 409, "project-in-use")
    assert "still has 1 dataset, 1 job, 1 webhook, 1 good key." in told["detail"]
    assert "/keys?project=support" in told["remedy"]
    api.post(f"/jobs/{job['id']}/cancel", headers=theirs)
    for path in (f"/jobs/{job['id']}", f"/datasets/{job['dataset_id']}", f"/webhooks/{hook['id']}"):
        assert api.delete(path, headers=theirs).status_code == 204, path
    assert "still has 1 good key." in refused(api.delete("/projects/support", headers=operator), 409, "project-in-use")["detail"]
    api.delete(f"/keys/{key['id']}", headers=operator)
    assert api.delete("/projects/support", headers=operator).status_code == 204
    refused(api.get("/projects/support", headers=operator), 404, "project-not-found")
    refused(api.post("/projects", json={"id": "support"}, headers=operator), 409, "project-taken")
    assert api.get("/audit", params={"project": "support"}, headers=operator).json()["items"][0]["action"] == "project.deleted"
    with transaction() as session, in_project("support"):
        assert session.query(IdempotencyKey).count() == session.query(Usage).count() == 0


def test_nothing_that_a_project_owns_is_forgotten_when_it_is_deleted() -> None:
    with_another = {Event, StageRun, OpenAiJob, WebhookDelivery}  # go with their job or webhook
    owned = {mapper.class_ for mapper in Base.registry.mappers if issubclass(mapper.class_, Owned)}
    assert owned == {*HELD, *DROPPED, *with_another, ApiKey, AuditEntry}


def test_the_default_project_stays_and_an_unknown_one_is_404(api: TestClient, operator: Headers) -> None:
    refused(api.delete("/projects/default", headers=operator), 409, "project-in-use")
    for id in ("nowhere", "x" * 100, "%00", "NO"):
        for answer in (
            api.get(f"/projects/{id}", headers=operator),
            api.patch(f"/projects/{id}", json={"rows": 1}, headers=operator),
            api.delete(f"/projects/{id}", headers=operator),
        ):
            refused(answer, 404, "project-not-found")


def test_an_id_is_of_a_few_letters_and_is_taken_once(api: TestClient, operator: Headers) -> None:
    for id in ("", "1st", "-a", "Support", "a b", "a_b", "a" * 41, "a\n", "\u00e4", "../a", None, 7):
        refused(api.post("/projects", json={"id": id}, headers=operator), 422, "invalid-request")
    assert made(api, operator, "a" * 40)["id"] == "a" * 40
    refused(api.post("/projects", json={"id": "default"}, headers=operator), 409, "project-taken")
    answers = together(*[lambda: api.post("/projects", json={"id": "team-2"}, headers=operator).status_code] * 5)
    assert sorted(answers) == [201, 409, 409, 409, 409]


def test_projects_are_listed_in_pages(api: TestClient, operator: Headers) -> None:
    for id in ("c", "b", "a"):
        made(api, operator, id)
    first = api.get("/projects", params={"limit": 3}, headers=operator).json()
    assert [project["id"] for project in first["items"]] == ["a", "b", "c"]
    last = api.get("/projects", params={"limit": 3, "after": first["next_after"]}, headers=operator).json()
    assert ([project["id"] for project in last["items"]], last["has_more"]) == (["default"], False)


def test_without_keys_anyone_is_an_operator(client: TestClient) -> None:
    assert client.post("/projects", json={"id": "support", "jobs_open": 1}).status_code == 201
    made = client.post("/keys", json={"name": "bot", "scopes": ["operator"], "project": "support"}).json()
    assert client.get("/keys", params={"project": "support"}).json()["items"][0]["id"] == made["id"]
    assert client.delete(f"/keys/{made['id']}").status_code == 200
    assert client.delete("/projects/support").status_code == 204
    with transaction() as session:
        assert [project.id for project in session.query(Project)] == ["default"]


def test_the_page_tells_the_project_that_somebody_is_in(lite: TestClient) -> None:
    with transaction() as session:
        create_project(session, ProjectIn(id="support"))
    with in_project("support"):
        theirs = make_key("read", name="theirs")
    assert "theirs · support</span>" in lite.get("/ui/jobs", headers=bearer(theirs)).text
    assert "ours</span>" in lite.get("/ui/jobs", headers=bearer(make_key("read", name="ours"))).text
