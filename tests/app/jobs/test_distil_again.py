"""A job without some of its texts, over HTTP: what is made of the request, and what is refused. What comes of it: tests/workers."""

import shutil
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select, update
from starlette.testclient import TestClient

from app.config import get_settings
from app.contracts import spec as contracts
from app.contracts.stages import Stage
from app.database import transaction
from app.jobs import again
from app.tables import Job, StageRun
from tests.app.calls import OTHER_ROWS, accepted, count, refused
from tests.app.jobs.texts import label_texts, text

TEXTS = [text("one", a=0.9), text("two", "empty"), text("three", a=0.8), text("four", "rejected"), text("five", a=0.7)]
SPEC = {"label": {"rejected": [4]}, "distil": {"student": "bag"}}


@pytest.fixture
def job(api: TestClient, tmp_path: Path) -> dict[str, Any]:
    made = accepted(api, spec=SPEC, preset="fast")
    label_texts(made["id"], TEXTS, tmp_path)
    return made


def post(api: TestClient, job: dict[str, Any], *rejected: int, key: str | None = None, **more: Any) -> Any:
    headers = {"Idempotency-Key": key} if key else {}
    return api.post(f"/jobs/{job['id']}/distil-again", json={"rejected": rejected, **more}, headers=headers)


def test_it_is_the_same_job_but_for_the_texts(api: TestClient, job: dict[str, Any]) -> None:
    answer = post(api, job, 5, 3, 5, promote="always", promote_reason="odd texts left out")
    assert answer.status_code == 202, answer.text
    made = answer.json()
    assert made["id"] != job["id"]
    assert answer.headers["location"] == f"/jobs/{made['id']}"
    assert answer.headers["retry-after"]
    assert made["spec"]["label"].pop("rejected") == [3, 4, 5]
    assert job["spec"]["label"].pop("rejected") == [4]
    same = ("name", "dataset_id", "preset", "spec")
    assert {field: made[field] for field in same} == {field: job[field] for field in same}
    assert (made["promote"], made["promote_reason"], made["status"]) == ("always", "odd texts left out", "queued")


def test_sent_again_under_a_key_it_is_one_job(api: TestClient, job: dict[str, Any]) -> None:
    first = post(api, job, 3, key="a key")
    again = post(api, job, 3, key="a key")
    assert again.json() == first.json()
    assert (again.status_code, again.headers["idempotency-replayed"]) == (202, "true")
    assert count(Job) == 2
    refused(post(api, job, 5, key="a key"), 422, "idempotency-key-reused")


def test_texts_that_cannot_be_rejected(api: TestClient, job: dict[str, Any]) -> None:
    problem = refused(post(api, job, 9, 2, 3), 422, "unknown-texts")
    assert [error["detail"] for error in problem["errors"]] == ["text 2 was dropped by the filters already", "there is no text 9"]
    assert problem["errors_total"] == 2
    refused(post(api, job, 0), 422, "invalid-request")
    refused(post(api, job), 422, "invalid-request")
    refused(post(api, job, 3, other=1), 422, "invalid-request")
    assert "generate" in refused(post(api, job, 1, 3, 5), 422, "no-texts-left")["remedy"]
    assert count(Job) == 1
    assert post(api, job, 4).status_code == 202  # rejected before: nothing new


def test_more_than_a_spec_may_hold(api: TestClient, job: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    assert again.MOST_REJECTED == contracts.MOST_REJECTED
    monkeypatch.setattr(again, "MOST_REJECTED", 2)
    refused(post(api, job, 3, 5), 422, "too-many-rejected")


def test_a_job_whose_texts_are_not_there(api: TestClient, job: dict[str, Any], tmp_path: Path) -> None:
    refused(api.post("/jobs/job_0/distil-again", json={"rejected": [1]}), 404, "job-not-found")
    waiting = accepted(api, spec={"distil": {"student": "cnn"}})
    refused(post(api, waiting, 1), 409, "synthetic-not-ready")
    label_texts(waiting["id"], [], tmp_path, "none")
    refused(post(api, waiting, 1), 409, "no-texts")
    with transaction() as session:
        (sampled,) = session.scalars(select(StageRun).where(StageRun.job_id == job["id"], StageRun.stage == Stage.GENERATE))
        key, sampled.artefact_key = sampled.artefact_key or "", "of-an-earlier-version"
    refused(post(api, job, 1), 409, "texts-gone")
    with transaction() as session:
        session.merge(sampled).artefact_key = key
    assert post(api, job, 1).status_code == 202
    shutil.rmtree(get_settings().data_dir / "blobs" / "artefacts" / key)
    refused(post(api, job, 1), 409, "texts-gone")
    shutil.rmtree(get_settings().data_dir / "blobs" / "artefacts" / "label-")
    refused(post(api, job, 1), 503, "artefact-missing")


def test_a_name_that_belongs_to_other_rows_by_now(api: TestClient, job: dict[str, Any]) -> None:
    accepted(api, dataset={"rows": OTHER_ROWS}, replace_dataset=True)
    refused(post(api, job, 3), 409, "name-taken")
    assert post(api, job, 3, replace_dataset=True).status_code == 202


def test_a_spec_of_an_earlier_version(api: TestClient, job: dict[str, Any]) -> None:
    with transaction() as session:
        session.execute(update(Job).where(Job.id == job["id"]).values(spec={**job["spec"], "gone": {}}))
    refused(post(api, job, 3), 409, "outdated-spec")
