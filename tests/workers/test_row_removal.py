"""Whole jobs that are not to keep their rows: what is gone once they have succeeded, what stays, and for whom."""

from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select
from starlette.testclient import TestClient

from app.config import Settings
from app.contracts.stages import JobStatus, Stage
from app.contracts.students import REPORT_FILE
from app.database import transaction
from app.jobs.row_removal import RowRemoval
from app.predictions.runtime import load_student
from app.storage import get_storage
from app.tables import Dataset, Event
from tests.app.calls import refused
from tests.workers.conftest import Submit
from tests.workers.jobs import events, read, run_all, run_of, run_stage
from tests.workers.tiny import make_rows
from workers.runner import remove_rows_once

pytestmark = pytest.mark.usefixtures("in_this_process")
NONE = {"keep_rows": False}
QUICK: dict[str, Any] = {"distil": {"student": "bag"}}


def found_in(folder: Path, texts: list[str]) -> set[str]:
    """Files below the folder that hold any of the texts."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    wanted = [text.encode() for text in texts]
    return {str(path.relative_to(folder)) for path in files if any(text in path.read_bytes() for text in wanted)}


def dataset_of(job_id: str) -> Dataset:
    return read(job_id).dataset


def generated(job_id: str) -> list[str]:
    key = run_of(job_id, Stage.GENERATE).artefact_key
    assert key is not None
    return [line for line in get_storage().read_verified(key, "texts.jsonl").decode().split("\n") if line]


def test_no_row_and_no_generated_text_is_left(service_env: Settings, submit: Submit, client: TestClient) -> None:
    job_id = submit(**QUICK, privacy={**NONE, "tell_samples": False})
    job = run_all(job_id)
    assert job.status == JobStatus.SUCCEEDED, job.error
    rows = [row.text for row in make_rows(20)]
    store = Path(get_storage().root)
    assert found_in(store, rows)
    texts = [line.split('"')[3] for line in generated(job_id)]
    assert remove_rows_once() == 1
    assert found_in(store, rows) == set()
    # Of the generated texts too none is left but those too short to tell anything, as a label is.
    assert found_in(store, [text for text in texts if len(text) > 20]) == set()

    job = read(job_id)
    assert job.rows_removal == RowRemoval.DONE
    assert job.student is not None
    assert job.dataset.rows_removed_at is not None
    assert client.get(f"/datasets/{job.dataset_id}").json()["rows_removed_at"]
    assert {run.stage for run in job.stages if run.artefact_key} == {"finetune_teacher", "distil", "publish"}
    left = {found.key for found in get_storage().artefact_keys()}
    assert left == {run.artefact_key for run in job.stages if run.artefact_key}
    assert events(job_id)[-1] == "rows_removed"
    assert client.get(f"/jobs/{job_id}/report").json()["memorisation"]["generated"] > 0
    assert get_storage().read_verified(job.student.artefact_key, REPORT_FILE)
    load_student(get_storage(), job.student.artefact_key)
    assert client.get("/students/triage/download").status_code == 200
    assert remove_rows_once() == 0  # and not again


def test_what_needs_the_rows_says_that_they_are_gone(service_env: Settings, submit: Submit, client: TestClient) -> None:
    job_id = submit(**QUICK, privacy=NONE)
    run_all(job_id)
    for _ in range(2):  # also in the seconds before
        refused(client.post(f"/jobs/{job_id}/distil-again", json={"rejected": [1]}), 409, "rows-removed")
        refused(client.get(f"/jobs/{job_id}/synthetic"), 410, "texts-removed")
        assert "No texts any more" in client.get(f"/ui/jobs/{job_id}/texts").text
        remove_rows_once()
    dataset = dataset_of(job_id)
    body = {"name": "other", "dataset": dataset.id, "preset": "fast"}
    for path in ("/jobs", "/jobs?dry_run=true"):
        assert "POST the rows again" in refused(client.post(path, json=body), 409, "rows-removed")["remedy"]
    rows = [{"text": row.text, "label": row.label} for row in make_rows(20)]
    again = client.post("/datasets", json={"rows": rows}).json()
    assert (again["id"], again["rows_removed_at"]) == (dataset.id, None)
    assert client.post("/jobs", json=body).status_code == 202
    assert remove_rows_once() == 0
    assert get_storage().exists(f"datasets/{dataset.content_hash}/rows.jsonl")


def test_what_another_job_uses_stays_as_long_as_it_does(service_env: Settings, submit: Submit, client: TestClient) -> None:
    keeps, leaves = submit(**QUICK), submit(distil={"student": "cnn"}, privacy=NONE)
    run_all(keeps)
    run_all(leaves)
    assert remove_rows_once() == 0
    assert events(leaves).count("rows_removed") == 1
    (warning,) = [text for text in read(leaves).warnings if "privacy.keep_rows" in text]
    assert keeps in warning
    assert "finetune_generator, generate, label" in warning
    assert generated(keeps)
    assert client.get(f"/jobs/{keeps}/synthetic").json()["total"]
    assert {run.stage for run in read(leaves).stages if run.artefact_key} == {"finetune_teacher", "distil", "publish"}
    assert remove_rows_once() == 0
    assert events(leaves).count("rows_removed") == 1  # told once
    # A job that is not to keep them is no reason to keep them, once it has succeeded.
    third = submit(distil={"student": "bilstm"}, privacy=NONE)
    run_all(third)
    client.delete("/students/triage/versions/1")
    assert client.delete(f"/jobs/{keeps}").status_code == 204
    assert remove_rows_once() == 2
    assert list(get_storage().dataset_hashes()) == []
    assert found_in(Path(get_storage().root), [row.text for row in make_rows(20)]) == set()


def test_a_job_that_may_be_resumed_keeps_its_rows_until_it_is_deleted(service_env: Settings, submit: Submit, client: TestClient) -> None:
    job_id = submit(**QUICK, privacy=NONE)
    run_stage(job_id, Stage.FINETUNE_TEACHER)
    client.post(f"/jobs/{job_id}/cancel")
    assert remove_rows_once() == 0
    dataset = dataset_of(job_id)
    assert get_storage().exists(f"datasets/{dataset.content_hash}/rows.jsonl")
    assert client.post(f"/jobs/{job_id}/resume").status_code == 202
    client.post(f"/jobs/{job_id}/cancel")
    assert client.delete(f"/jobs/{job_id}").status_code == 204
    assert list(get_storage().dataset_hashes()) == []
    assert client.get(f"/datasets/{dataset.id}").json()["rows_removed_at"]
    assert client.delete(f"/datasets/{dataset.id}").status_code == 204


def test_the_removal_goes_on_where_it_was_interrupted(
    service_env: Settings, submit: Submit, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    job_id = submit(**QUICK, privacy=NONE)
    run_all(job_id)
    storage = get_storage()
    with monkeypatch.context() as broken:
        # The folder of datasets cannot be changed: what was done before it counts, and nothing says that the rows are gone.
        broken.setattr(type(storage), "delete_dataset", lambda *_: (_ for _ in ()).throw(PermissionError("read only")))
        assert remove_rows_once() == 0
    assert "not removed yet" in caplog.text
    assert read(job_id).rows_removal == RowRemoval.DUE
    assert dataset_of(job_id).rows_removed_at is None
    assert remove_rows_once() == 1
    assert list(storage.dataset_hashes()) == []
    with transaction() as session:
        (told,) = session.scalars(select(Event).where(Event.job_id == job_id, Event.type == "rows_removed"))
    assert told.message == "rows, transfer set, generated texts and generator removed"
