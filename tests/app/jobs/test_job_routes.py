"""Jobs over HTTP, on both databases and a real Redis."""

import json
from typing import Any

import pytest
import redis
from starlette.testclient import TestClient

from app.contracts.presets import PRESETS
from app.contracts.stages import GRAPH
from app.database import transaction
from app.jobs import lifecycle
from app.tables import Dataset, Job, StageRun
from tests.app.calls import OTHER_ROWS, ROWS, accepted, count, post, refused


def start(job_id: str, index: int = 0) -> int:
    """Claims one of the job's stages."""
    with transaction() as session:
        run = session.get_one(Job, job_id).stages[index]
        assert lifecycle.claim(session, run.id, "worker-1") is not None
        return run.id


def fail(job_id: str) -> None:
    """Fails the job in its first stage."""
    run_id = start(job_id)
    with transaction() as session:
        error = {"type": "broken", "detail": "it broke", "remedy": "mend it"}
        assert lifecycle.fail_stage(session, run_id, 1, error, retry=False, max_attempts=3)


def publish(job_id: str) -> None:
    """Publishes a version, as a job that has run does."""
    start(job_id)
    with transaction() as session:
        lifecycle.publish_version(session, session.get_one(Job, job_id), kind="cnn", artefact_key="k", manifest={})


def test_a_job_from_inline_rows_is_queued_with_all_its_stages(api: TestClient, redis_url: str) -> None:
    answer = post(api, preset="balanced", spec={"distil": {"student": "bag"}})
    assert answer.status_code == 202
    job = answer.json()
    assert answer.headers["location"] == f"/jobs/{job['id']}"
    assert int(answer.headers["retry-after"]) > 0
    assert job["id"].startswith("job_")
    assert (job["name"], job["status"], job["preset"]) == ("triage", "queued", "balanced")
    assert (job["student"], job["error"], job["eta_seconds"]) == (None, None, None)
    assert [stage["name"] for stage in job["stages"]] == list(GRAPH)
    assert [stage["status"] for stage in job["stages"]] == ["queued", "queued", "pending", "pending", "pending", "pending"]
    assert job["stages"][0]["progress"] == {"done": 0, "total": 0, "unit": "epochs"}
    assert job["spec"]["distil"] == {**PRESETS["balanced"].distil.model_dump(), "student": "bag"}
    assert api.get(answer.headers["location"]).json() == job
    with redis.Redis.from_url(redis_url) as client:
        assert client.llen("gpu") == 2


def test_a_job_may_generate_nothing(api: TestClient) -> None:
    assert accepted(api, spec={"generate": {"texts": 0}})["spec"]["generate"]["texts"] == 0


def test_a_job_from_a_dataset_id_and_from_inline_rows_share_the_dataset(api: TestClient) -> None:
    dataset = api.post("/datasets", json={"rows": ROWS}).json()
    first = accepted(api, dataset=dataset["id"])
    second = accepted(api)
    assert first["dataset_id"] == second["dataset_id"] == dataset["id"]


def test_a_job_from_a_form(api: TestClient) -> None:
    csv = "text,label\n" + "".join(f"{row['text']},{row['label']}\n" for row in ROWS)
    fields = {"name": "triage", "spec": json.dumps({"distil": {"epochs": 3}}), "replace_dataset": "true"}
    answer = api.post("/jobs", files={"file": ("rows.csv", csv)}, data=fields)
    assert answer.status_code == 202, answer.text
    job = answer.json()
    assert (job["preset"], job["spec"]["distil"]["epochs"]) == ("fast", 3)
    by_id = api.post("/jobs", files={"name": (None, "triage"), "dataset": (None, job["dataset_id"])})
    assert by_id.json()["dataset_id"] == job["dataset_id"]


def test_a_job_carries_the_warnings_of_its_dataset(api: TestClient) -> None:
    job = accepted(api, dataset={"rows": [*ROWS, ROWS[0]]})
    assert any("duplicate" in warning for warning in job["warnings"])


@pytest.mark.parametrize(
    ("changes", "status", "type", "field"),
    [
        ({"preset": "quick"}, 422, "unknown-preset", "preset"),
        ({"spec": {"distil": {"student": "gru"}}}, 422, "invalid-spec", "spec.distil.student"),
        ({"spec": {"distil": {"alpha": 1.5}}}, 422, "invalid-spec", "spec.distil.alpha"),
        ({"spec": {"distil": {"colour": 1}}}, 422, "invalid-spec", "spec.distil.colour"),
        ({"spec": {"sampling": {}}}, 422, "invalid-spec", "spec.sampling"),
        ({"spec": {"teacher": 5}}, 422, "invalid-spec", "spec.teacher"),
        ({"spec": {"teacher": {"model": "embedded:gpt-9"}}}, 422, "unknown-model", "spec.teacher.model"),
        ({"spec": {"teacher": {"model": "embedded:smollm2-135m"}}}, 422, "unknown-model", "spec.teacher.model"),
        ({"spec": {"generator": {"model": "no such\nthing"}}}, 422, "unknown-model", "spec.generator.model"),
        ({"spec": []}, 422, "invalid-request", "spec"),
        ({"name": "Triage"}, 422, "invalid-request", "name"),
        ({"name": "a:1"}, 422, "invalid-request", "name"),
        ({"name": ""}, 422, "invalid-request", "name"),
        ({"name": "x" * 64}, 422, "invalid-request", "name"),
        ({"colour": "red"}, 422, "invalid-request", "colour"),
        ({"dataset": 5}, 422, "invalid-request", "dataset"),
        ({"dataset": {}}, 422, "invalid-request", "dataset.rows"),
        ({"dataset": {"rows": ROWS, "id": 1}}, 422, "invalid-request", "dataset.id"),
    ],
)
def test_what_a_job_cannot_use_is_refused_by_name(api: TestClient, changes: dict[str, Any], status: int, type: str, field: str) -> None:
    problem = refused(post(api, **changes), status, type)
    assert field in [error["column"] for error in problem["errors"]]
    assert all(error["remedy"] for error in problem["errors"])
    assert count(Job) == count(Dataset) == 0


def test_bad_rows_leave_no_job(api: TestClient) -> None:
    problem = refused(post(api, dataset={"rows": [*ROWS, {"text": "", "label": "top up"}]}), 422, "invalid-rows")
    assert problem["errors"][0]["row"] == 13
    refused(post(api, dataset={"rows": ROWS[:6]}), 422, "too-few-classes")
    refused(post(api, dataset="ds_0"), 404, "dataset-not-found")
    refused(post(api, dataset="\x00"), 404, "dataset-not-found")
    assert count(Job) == count(Dataset) == count(StageRun) == 0


@pytest.mark.parametrize(
    ("content", "content_type", "status", "type"),
    [
        (b'{"name": ', "application/json", 400, "malformed-json"),
        (b"\xff\xfe", "application/json", 400, "not-utf8"),
        (b"[1]", "application/json", 422, "invalid-request"),
        (b"text,label", "text/csv", 415, "unsupported-format"),
        (b"--x", "multipart/form-data; boundary=x", 400, "malformed-multipart"),
    ],
)
def test_a_body_that_cannot_be_read(api: TestClient, content: bytes, content_type: str, status: int, type: str) -> None:
    refused(api.post("/jobs", content=content, headers={"content-type": content_type}), status, type)


def test_a_form_without_rows_or_with_too_many_sources(api: TestClient) -> None:
    no_rows = refused(api.post("/jobs", files={"name": (None, "triage")}), 422, "invalid-request")
    assert no_rows["errors"][0]["column"] == "file"
    files: Any = {"file": ("rows.json", json.dumps(ROWS)), "name": (None, "triage"), "dataset": (None, "ds_1")}
    assert refused(api.post("/jobs", files=files), 422, "invalid-request")["errors"][0]["column"] == "dataset"
    files = {"file": ("rows.json", json.dumps(ROWS)), "name": (None, "triage"), "spec": (None, "{")}
    refused(api.post("/jobs", files=files), 400, "malformed-json")


def test_a_name_in_use_by_another_dataset(api: TestClient) -> None:
    first = accepted(api)
    problem = refused(post(api, dataset={"rows": OTHER_ROWS}), 409, "name-taken")
    assert first["id"] in problem["detail"]
    assert "replace_dataset" in problem["remedy"]
    accepted(api)  # the same dataset
    accepted(api, name="other", dataset={"rows": OTHER_ROWS})
    accepted(api, dataset={"rows": OTHER_ROWS}, replace_dataset=True)


def test_failed_and_cancelled_jobs_hold_no_name_and_students_do(api: TestClient) -> None:
    fail(accepted(api)["id"])
    api.post(f"/jobs/{accepted(api)['id']}/cancel")
    job = accepted(api, dataset={"rows": OTHER_ROWS})
    publish(job["id"])
    fail_second_stage = start(job["id"], 1)
    with transaction() as session:
        lifecycle.fail_stage(session, fail_second_stage, 1, {"type": "t", "detail": "d", "remedy": "r"}, retry=False, max_attempts=1)
    assert "triage:1" in refused(post(api), 409, "name-taken")["detail"]
    accepted(api, dataset={"rows": OTHER_ROWS})


def test_a_job_is_not_resumed_into_a_name_that_was_taken_since(api: TestClient) -> None:
    job = accepted(api)
    fail(job["id"])
    accepted(api, dataset={"rows": OTHER_ROWS})
    refused(api.post(f"/jobs/{job['id']}/resume"), 409, "name-taken")


def test_a_job_that_replaced_the_dataset_can_be_resumed(api: TestClient) -> None:
    publish(accepted(api)["id"])
    job = accepted(api, dataset={"rows": OTHER_ROWS}, replace_dataset=True)
    fail(job["id"])
    assert api.post(f"/jobs/{job['id']}/resume").status_code == 202


def test_cancel_and_resume(api: TestClient) -> None:
    job_id = accepted(api)["id"]
    run_id = start(job_id)
    cancelled = api.post(f"/jobs/{job_id}/cancel")
    assert cancelled.status_code == 202
    assert (cancelled.json()["status"], cancelled.json()["finished_at"]) == ("cancelled", None)
    assert [stage["status"] for stage in cancelled.json()["stages"]] == ["running", *["cancelled"] * 5]
    assert cancelled.json()["eta_seconds"] is None
    assert api.post(f"/jobs/{job_id}/cancel").status_code == 202
    stopping = api.post(f"/jobs/{job_id}/resume")
    refused(stopping, 409, "job-stopping")
    assert stopping.headers["retry-after"]
    with transaction() as session:
        assert lifecycle.cancel_running(session, run_id, 1)
    resumed = api.post(f"/jobs/{job_id}/resume")
    assert resumed.status_code == 202
    assert [stage["status"] for stage in resumed.json()["stages"]] == ["queued", "queued", *["pending"] * 4]
    refused(api.post(f"/jobs/{job_id}/resume"), 409, "job-not-resumable")


def test_a_failed_job_says_why_and_cannot_be_cancelled(api: TestClient) -> None:
    job_id = accepted(api)["id"]
    fail(job_id)
    job = api.get(f"/jobs/{job_id}").json()
    error = {"type": "broken", "detail": "it broke", "remedy": "mend it"}
    assert job["error"] == {**error, "stage": "finetune_teacher"}
    assert job["stages"][0]["error"] == {**error, "stage": None}
    assert job["stages"][0]["seconds"] >= 0
    refused(api.post(f"/jobs/{job_id}/cancel"), 409, "job-finished")


def test_jobs_are_listed_newest_first_in_pages(api: TestClient) -> None:
    ids = [accepted(api, name=f"job-{number}", dataset={"rows": ROWS})["id"] for number in range(3)]
    first = api.get("/jobs", params={"limit": 2}).json()
    assert [job["id"] for job in first["items"]] == ids[:0:-1]
    assert first["has_more"]
    second = api.get("/jobs", params={"limit": 2, "after": first["next_after"]}).json()
    assert [job["id"] for job in second["items"]] == ids[:1]
    assert (second["has_more"], second["next_after"]) == (False, None)
    api.post(f"/jobs/{ids[1]}/cancel")
    assert [job["id"] for job in api.get("/jobs", params={"status": "cancelled"}).json()["items"]] == [ids[1]]
    assert [job["id"] for job in api.get("/jobs", params={"name": "job-2"}).json()["items"]] == [ids[2]]
    refused(api.get("/jobs", params={"after": "job_0"}), 422, "unknown-cursor")
    refused(api.get("/jobs", params={"limit": 0}), 422, "invalid-request")
    assert "GENDISTIL_LIMITS__PAGE_SIZE" in refused(api.get("/jobs", params={"limit": 101}), 422, "invalid-request")["detail"]


@pytest.mark.parametrize("job_id", ["job_0", "%00", "%F0%9F%98%80"])
def test_an_unknown_job(api: TestClient, job_id: str) -> None:
    for path in ("", "/events", "/report", "/synthetic"):
        refused(api.get(f"/jobs/{job_id}{path}"), 404, "job-not-found")
    for path in ("/cancel", "/resume"):
        refused(api.post(f"/jobs/{job_id}{path}"), 404, "job-not-found")
