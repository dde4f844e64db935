"""DELETE of jobs and datasets over HTTP, on both databases and a real blob store."""

from pathlib import Path

import pytest
from sqlalchemy import select
from starlette.testclient import TestClient

from app.contracts.stages import Stage
from app.database import transaction
from app.jobs import lifecycle
from app.storage import get_storage
from app.tables import Alias, Dataset, Event, Job, StageRun, Student
from tests.app.calls import ROWS, accepted, count, post, refused
from tests.app.jobs.transitions import finish_alone
from tests.app.storage.conftest import store_artefact
from tests.waiting import meanwhile


def stored() -> set[str]:
    return {found.key for found in get_storage().artefact_keys()}


def test_a_job_goes_with_all_that_it_alone_made(api: TestClient, tmp_path: Path) -> None:
    jobs = [accepted(api)["id"], accepted(api)["id"]]
    for key in ("shared", "own"):
        store_artefact(tmp_path / key, key)
    for job in jobs:
        finish_alone(job, Stage.FINETUNE_TEACHER, "shared")
    finish_alone(jobs[0], Stage.FINETUNE_GENERATOR, "own")
    api.post(f"/jobs/{jobs[0]}/cancel")
    answer = api.delete(f"/jobs/{jobs[0]}")
    assert (answer.status_code, answer.content) == (204, b"")
    refused(api.get(f"/jobs/{jobs[0]}"), 404, "job-not-found")
    refused(api.delete(f"/jobs/{jobs[0]}"), 404, "job-not-found")
    assert stored() == {"shared"}  # which the other, running job uses
    with transaction() as session:
        assert set(session.scalars(select(StageRun.job_id))) == set(session.scalars(select(Event.job_id))) == {jobs[1]}
    api.post(f"/jobs/{jobs[1]}/cancel")
    assert api.delete(f"/jobs/{jobs[1]}").status_code == 204
    assert stored() == set()
    assert count(Job) == count(StageRun) == count(Event) == 0
    assert count(Dataset) == 1


def test_a_job_that_has_not_ended_stays(api: TestClient) -> None:
    job = accepted(api)["id"]
    assert "cancel" in refused(api.delete(f"/jobs/{job}"), 409, "job-running")["remedy"]
    with transaction() as session:
        run = session.get_one(Job, job).stages[0].id
        lifecycle.claim(session, run, "worker-1")
    refused(api.delete(f"/jobs/{job}"), 409, "job-running")
    api.post(f"/jobs/{job}/cancel")
    stopping = api.delete(f"/jobs/{job}")
    refused(stopping, 409, "job-running")
    assert stopping.headers["retry-after"]
    with transaction() as session:
        assert lifecycle.cancel_running(session, run, 1)
    assert api.delete(f"/jobs/{job}").status_code == 204
    with transaction() as session:  # what comes late finds nothing
        assert lifecycle.claim(session, run, "worker-1") is None
        assert not lifecycle.heartbeat(session, run, 1, 0, 0, "texts")


def test_a_job_whose_student_serves_stays(api: TestClient, tmp_path: Path) -> None:
    job = accepted(api)["id"]
    store_artefact(tmp_path / "student", "student")
    finish_alone(job, Stage.PUBLISH, "student")
    api.post(f"/jobs/{job}/cancel")
    assert "DELETE /students/triage/versions/1" in refused(api.delete(f"/jobs/{job}"), 409, "job-published")["remedy"]
    assert stored() == {"student"}
    assert api.delete("/students/triage/versions/1").status_code == 204
    assert stored() == set()
    assert api.delete(f"/jobs/{job}").status_code == 204


def test_the_report_of_a_deleted_student_is_gone(api: TestClient, tmp_path: Path) -> None:
    job = accepted(api)["id"]
    for stage in Stage:
        store_artefact(tmp_path / stage, stage)
        finish_alone(job, stage, stage)
    assert api.get(f"/jobs/{job}").json()["status"] == "succeeded"
    assert api.delete("/students/triage").status_code == 204
    refused(api.get(f"/jobs/{job}/report"), 410, "student-deleted")
    assert api.get(f"/jobs/{job}").json()["student"] is None
    assert stored() == {stage.value for stage in Stage if stage != Stage.PUBLISH}


def test_a_dataset_stays_while_jobs_were_made_from_it(api: TestClient) -> None:
    jobs = [accepted(api)["id"] for _ in range(6)]
    dataset = api.get(f"/jobs/{jobs[0]}").json()["dataset_id"]
    detail = refused(api.delete(f"/datasets/{dataset}"), 409, "dataset-in-use")["detail"]
    assert [job for job in jobs if job in detail] == jobs[1:]
    assert "6 jobs" in detail
    assert "1 more" in detail
    for job in jobs:
        api.post(f"/jobs/{job}/cancel")
        assert api.delete(f"/jobs/{job}").status_code == 204
    content_hash = api.get(f"/datasets/{dataset}").json()["content_hash"]
    assert get_storage().exists(f"datasets/{content_hash}/rows.jsonl")
    assert api.delete(f"/datasets/{dataset}").status_code == 204
    assert list(get_storage().dataset_hashes()) == []
    refused(api.delete(f"/datasets/{dataset}"), 404, "dataset-not-found")
    assert api.post("/datasets", json={"rows": ROWS}).json()["id"] != dataset


@pytest.mark.parametrize("id", ["ds_0", "%00", "%F0%9F%98%80"])
def test_what_is_not_there(api: TestClient, id: str) -> None:
    refused(api.delete(f"/datasets/{id}"), 404, "dataset-not-found")
    refused(api.delete(f"/jobs/{id}"), 404, "job-not-found")


def test_rows_that_come_while_they_are_deleted_are_stored_whole(api: TestClient) -> None:
    """Uploads and deletions of the same rows, as fast as they go: the dataset of a job that was accepted is there, with its blobs."""

    def delete() -> None:
        for dataset in api.get("/datasets").json()["items"]:
            answer = api.delete(f"/datasets/{dataset['id']}")
            assert answer.status_code in {204, 404, 409}, answer.text

    with meanwhile(delete):
        for number in range(15):
            job = accepted(api, name=f"job-{number}")
            content_hash = api.get(f"/datasets/{job['dataset_id']}").json()["content_hash"]
            assert get_storage().exists(f"datasets/{content_hash}/rows.jsonl")
            api.post(f"/jobs/{job['id']}/cancel")
            assert api.delete(f"/jobs/{job['id']}").status_code == 204
            by_id = post(api, name=f"job-{number}", dataset=job["dataset_id"])
            assert by_id.status_code in {202, 404}, by_id.text
            if by_id.status_code == 202:
                api.post(f"/jobs/{by_id.json()['id']}/cancel")
                assert api.delete(f"/jobs/{by_id.json()['id']}").status_code == 204


def test_versions_that_are_published_while_others_are_deleted(api: TestClient) -> None:
    """`latest` points at a version that is there, and no number is given out twice."""
    jobs = [accepted(api)["id"] for _ in range(12)]
    manifest = {"metrics": {}, "parity": {}, "labels": [], "parameters": 1, "bytes": 1, "max_tokens": 8}
    published: list[int] = []

    def delete() -> None:
        student = api.get("/students/triage")
        if student.status_code == 200:
            newest = student.json()["versions"][0]["version"]
            answer = api.delete(f"/students/triage/versions/{newest}" if newest % 3 else "/students/triage")
            assert answer.status_code in {204, 404}, answer.text

    with meanwhile(delete):
        for job in jobs:
            with transaction() as session:
                lifecycle.claim(session, session.get_one(Job, job).stages[0].id, "worker-1")
            with transaction() as session:
                row = session.get_one(Job, job)
                published.append(lifecycle.publish_version(session, row, kind="cnn", artefact_key=job, manifest=manifest).version)
    assert published == sorted(set(published))
    with transaction() as session:
        left = set(session.scalars(select(Student.version)))
        aliases = {alias.alias: alias.version for alias in session.scalars(select(Alias))}
    assert aliases == ({"latest": max(left)} if left else {})
