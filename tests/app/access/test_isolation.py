"""What belongs to one project is asked for by a key of another, on every route. The routes come from the application itself."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from sqlalchemy import select
from starlette.testclient import TestClient

from app.config import get_settings
from app.contracts.projects import DEFAULT_PROJECT
from app.contracts.reuse import expected_keys
from app.contracts.spec import JobSpec
from app.contracts.stages import Stage
from app.database import get_engine, transaction
from app.openapi import needs_of
from app.ownership import Owned, in_project
from app.tables import Base, Job, Project, utcnow
from tests.app.access.conftest import bearer, make_key
from tests.app.access.test_matrix import PUBLIC, Call, calls
from tests.app.calls import OTHER_ROWS, accepted
from tests.app.jobs.texts import label_texts, text
from tests.app.predictions.conftest import Publish, publish
from tests.app.web.reports import made_up, reported

__all__ = ["publish"]

SERVICE_WIDE = {"metrics", "operator"}
"""Scopes to which all projects are shown."""
MAKING = {
    ("POST", "/datasets"),
    ("POST", "/students/import"),
    ("POST", "/keys"),
    ("POST", "/webhooks"),
    ("POST", "/v1/files"),
    ("POST", "/ui/new/check"),
}
"""Requests that name nothing that there is. All others that change something have to stand in `Theirs.bodies`."""


@dataclass(frozen=True)
class Theirs:
    """One of everything, of another project."""

    key: dict[str, str]
    names: dict[str, str]
    job_with_report: str

    def path(self, template: str) -> str:
        names = dict(self.names)
        if "report" in template or template == "/jobs/{job_id}/events":  # which ends where the job has
            names["job_id"] = self.job_with_report
        if template == "/v1/models/{model}":
            names["model"] = "theirs:1"
        return template.format(**names)

    def body(self, call: Call) -> dict[str, Any]:
        """What the request says, so that nothing is wrong with it but whose key it has."""
        names = self.names
        tensor = {"name": "text", "shape": [1], "datatype": "BYTES", "data": ["a"]}
        bodies: dict[tuple[str, str], dict[str, Any]] = {
            ("POST", "/predict"): {"json": {"student": "theirs", "inputs": "a"}},
            ("POST", "/jobs"): {"json": {"name": "mine", "dataset": names["dataset_id"]}},
            ("POST", "/jobs/{job_id}/distil-again"): {"json": {"rejected": [1]}},
            ("PUT", "/students/{name}/aliases/{alias}"): {"json": {"version": 1}},
            ("PUT", "/students/{name}/shadow"): {"json": {"version": 1, "share": 0.5}},
            ("POST", "/predictions"): {"params": {"student": "theirs"}, "content": "text\na\n", "headers": {"Content-Type": "text/csv"}},
            ("PATCH", "/webhooks/{webhook_id}"): {"json": {"description": "mine now"}},
            ("POST", "/v2/models/{model}/infer"): {"json": {"inputs": [tensor]}},
            ("POST", "/v2/models/{model}/versions/{model_version}/infer"): {"json": {"inputs": [tensor]}},
            ("POST", "/hf/{student}"): {"json": {"inputs": "a"}},
            ("POST", "/v1/fine_tuning/jobs"): {"json": {"model": "fast", "training_file": names["file_id"]}},
            ("POST", "/v1/chat/completions"): {"json": {"model": "theirs", "messages": [{"role": "user", "content": "a"}]}},
            ("POST", "/ui/predict"): {"json": {"student": "theirs", "inputs": "a"}},
        }
        return bodies.get((call.method, call.template), {})


@pytest.fixture
def theirs(lite: TestClient, publish: Publish, tmp_path: Path) -> Theirs:
    with transaction() as session:
        session.add(Project(id="other"))
    with in_project("other"):
        key = bearer(make_key("admin", name="theirs"))
        publish("theirs")
        lite.headers.update(key)
        with_report = reported(lite, tmp_path / "reported", made_up(["lost card", "top up"]))
        job = accepted(lite, name="texts", dataset={"rows": OTHER_ROWS})
        label_texts(job["id"], [text("a zanzibar text", a=0.9)], tmp_path)
        lite.put("/students/theirs/aliases/champion", json={"version": 1}).raise_for_status()
        lite.put("/students/theirs/shadow", json={"version": 1, "share": 0.5}).raise_for_status()
        bulk = lite.post("/predictions?student=theirs", content="text\na zanzibar text\n", headers={"Content-Type": "text/csv"}).json()
        webhook = lite.post("/webhooks", json={"url": "https://93.184.215.14/hook", "events": ["job.succeeded"]}).json()
        delivery = lite.post(f"/webhooks/{webhook['id']}/test").json()
        chat = "".join(
            f'{{"messages": [{{"role": "user", "content": "a zanzibar text {n}"}}, {{"role": "assistant", "content": "{"ab"[n % 2]}"}}]}}\n'
            for n in range(40)
        )
        file = lite.post("/v1/files", files={"file": ("rows.jsonl", chat)}, data={"purpose": "fine-tune"}).json()
        tuned = lite.post("/v1/fine_tuning/jobs", json={"model": "fast", "training_file": file["id"], "suffix": "zebra"}).json()
        keys = lite.get("/keys").json()["items"]
        del lite.headers["authorization"]
    names = {
        "dataset_id": job["dataset_id"],
        "job_id": job["id"],
        "name": "theirs",
        "student": "theirs",
        "model": "theirs",
        "model_version": "1",
        "version": "1",
        "alias": "champion",
        "key_id": keys[0]["id"],
        "prediction_id": bulk["id"],
        "webhook_id": webhook["id"],
        "delivery_id": delivery["id"],
        "file_id": file["id"],
        "fine_tuning_job_id": tuned["id"],
        "project_id": "other",
        "digest": "none",
        "path:path": "none",
    }
    return Theirs(key, names, with_report)


def owned_rows(project: str) -> dict[str, list[Any]]:
    """As the database has them, whoever asks. Without what every use of a key changes, and the log of what was done."""
    tables = [mapper.local_table for mapper in Base.registry.mappers if issubclass(mapper.class_, Owned)]
    with get_engine().connect() as connection:
        return {
            str(table): sorted(map(repr, connection.execute(select(table).where(table.c.project_id == project))))
            for table in tables
            if str(table) not in {"api_keys", "audit_log"}
        }


def test_every_table_belongs_to_projects() -> None:
    shared = {mapper.class_.__name__ for mapper in Base.registry.mappers if not issubclass(mapper.class_, Owned)}
    assert shared == {"Project"}


def test_what_another_project_has_is_not_there(lite: TestClient, theirs: Theirs) -> None:
    assert isinstance(lite.app, FastAPI)
    needs = needs_of(lite.app.routes)
    mine = bearer(make_key("admin", name="mine"))
    before = owned_rows("other")
    assert before["jobs"], "they have something"
    faults = []
    for call in calls(lite):
        place = (call.method, call.template)
        if place in PUBLIC or needs[place] in SERVICE_WIDE or call.template.startswith(("/ui/static", "/ui/{path")):
            continue
        body = theirs.body(call)
        names_something = "{" in call.template or bool(body)
        if not names_something and (call.method in {"GET", "HEAD"} or place in MAKING):
            continue
        headers = {"Origin": "http://testserver", **mine, **body.pop("headers", {})}
        answer = lite.request(call.method, theirs.path(call.template), headers=headers, follow_redirects=False, **body)
        # OpenAI's API answers 400 where a body names what is not there.
        if answer.status_code != 404 and not (answer.status_code == 400 and '"code":"file_not_found"' in answer.text):
            faults.append((call, answer.status_code, answer.text[:200]))
    assert faults == []
    assert owned_rows("other") == before


def test_what_is_asked_for_above_is_there_for_its_own_project(lite: TestClient, theirs: Theirs) -> None:
    """So that no 404 above was one for another reason."""
    faults = []
    for call in calls(lite):
        asked = call.method == "GET" and "{" in call.template and not call.template.startswith(("/ui/static", "/ui/{path"))
        if asked:
            answer = lite.get(theirs.path(call.template), headers=theirs.key, follow_redirects=False)
            if answer.status_code in {401, 403, 404, 405} or answer.status_code >= 500:
                faults.append((call, answer.status_code, answer.text[:200]))
    assert faults == []


def test_no_list_names_what_another_project_has(lite: TestClient, theirs: Theirs) -> None:
    mine = bearer(make_key("admin", name="mine"))
    assert isinstance(lite.app, FastAPI)
    needs = needs_of(lite.app.routes)
    marks = {"theirs", "zebra", "zanzibar", theirs.job_with_report, *(mark for mark in theirs.names.values() if "_" in mark)}
    asked, faults = 0, []
    for call in calls(lite):
        if call.method != "GET" or "{" in call.template or needs[call.method, call.template] in SERVICE_WIDE:
            continue
        asked += 1
        answer = lite.get(call.path, headers=mine)
        faults += [(call, mark) for mark in marks if mark in answer.text]
    assert asked > 15
    assert faults == []


def test_a_name_means_in_each_project_what_it_was_published_as_there(lite: TestClient, publish: Publish) -> None:
    with transaction() as session:
        session.add(Project(id="other"))
    publish("triage")
    publish("triage")
    with in_project("other"):
        publish("triage")
        other = bearer(make_key("admin"))
    mine = bearer(make_key("admin"))
    asked = {"student": "triage", "inputs": "card"}
    for _ in range(2):  # once from the database, once from memory
        answered = [lite.post("/predict", json=asked, headers=headers).json()["version"] for headers in (mine, other)]
        assert answered == [2, 1]
    lite.delete("/students/triage", headers=other).raise_for_status()
    assert lite.post("/predict", json=asked, headers=other).status_code == 404
    assert lite.post("/predict", json=asked, headers=mine).status_code == 200
    assert lite.get("/students/triage", headers=mine).json()["aliases"] == {"latest": 2}


def test_the_same_rows_share_nothing_across_projects(lite: TestClient) -> None:
    with transaction() as session:
        session.add(Project(id="other", created_at=utcnow()))
    with in_project("other"):
        other = bearer(make_key("write"))
    mine = bearer(make_key("write"))
    made = [lite.post("/datasets", json={"rows": OTHER_ROWS}, headers=headers).json() for headers in (mine, other, mine)]
    assert made[0]["id"] == made[2]["id"] != made[1]["id"]
    assert made[0]["content_hash"] != made[1]["content_hash"]
    lite.delete(f"/datasets/{made[0]['id']}", headers=mine).raise_for_status()
    again = lite.post("/jobs", json={"name": "x", "dataset": made[1]["id"]}, headers=other)
    assert again.status_code == 202, again.text


@pytest.mark.parametrize("shared", [False, True])
def test_what_stages_make_of_the_same_rows_is_shared_only_if_that_is_configured(
    lite: TestClient, clean_settings: pytest.MonkeyPatch, shared: bool
) -> None:
    clean_settings.setenv("GENDISTIL_REUSE_ACROSS_PROJECTS", str(shared))
    get_settings.cache_clear()
    with transaction() as session:
        session.add(Project(id="other"))
    keys = []
    for project in (DEFAULT_PROJECT, "other"):
        with in_project(project):
            headers = bearer(make_key("write"))
            job = lite.post("/jobs", json={"name": "x", "dataset": {"rows": OTHER_ROWS}}, headers=headers).json()
            with transaction() as session:
                row = session.get_one(Job, job["id"])
                keys.append(expected_keys(JobSpec.model_validate(row.spec), row.dataset.lineage_hash)[Stage.FINETUNE_TEACHER])
    assert (keys[0] == keys[1]) == shared
    assert None not in keys


def test_the_same_idempotency_key_means_another_request_in_another_project(lite: TestClient) -> None:
    with transaction() as session:
        session.add(Project(id="other"))
    with in_project("other"):
        other = bearer(make_key("write"))
    mine = bearer(make_key("write"))
    body = {"name": "triage", "dataset": {"rows": OTHER_ROWS}}
    sent = [lite.post("/jobs", json=body, headers={**headers, "Idempotency-Key": "one"}) for headers in (mine, other, mine)]
    assert [answer.status_code for answer in sent] == [202] * 3
    ids = [answer.json()["id"] for answer in sent]
    assert ids[0] == ids[2] != ids[1]


def test_without_keys_everything_is_of_the_default_project(client: TestClient) -> None:
    accepted(client)
    assert owned_rows(DEFAULT_PROJECT)["jobs"]
