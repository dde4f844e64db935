"""What a job made: its report and its generated texts, read from a real blob store."""

import json
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from app.contracts.artefacts import ArtefactManifest, FileEntry
from app.contracts.report import Interval, Report
from app.contracts.stages import GRAPH, Stage
from app.database import transaction
from app.jobs import lifecycle
from app.storage import file_sha256, get_storage
from app.tables import Job, StageRun

ROWS = [{"text": f"{label} text number {number}", "label": label} for label in ("a", "b") for number in range(6)]
# U+2028 ends a line for str.splitlines, and not in JSON Lines.
TEXTS = [
    {"text": "one\u2028still one", "label": "a", "verdict": "kept", "probabilities": {"a": 0.9, "b": 0.1}},
    {"text": "two", "label": "b", "verdict": "duplicate", "probabilities": None},
    {"text": "three", "label": None, "verdict": "kept", "probabilities": {"b": 1.0}},
]


def store(stage: Stage, key: str, folder: Path, content: dict[str, str]) -> None:
    folder.mkdir()
    for name, text in content.items():
        (folder / name).write_text(text, encoding="utf-8")
    files = {name: FileEntry(sha256=file_sha256(folder / name), bytes=(folder / name).stat().st_size) for name in content}
    manifest = ArtefactManifest(stage=stage, key=key, version=1, spec={}, inputs={}, files=files, seconds=1)
    get_storage().publish(folder, manifest)


def finish(job_id: str, stage: Stage, key: str) -> None:
    """Runs one stage on its own, as if what it waits for were done."""
    with transaction() as session:
        earlier = session.query(StageRun).filter(StageRun.job_id == job_id, StageRun.stage.in_(GRAPH[stage].after))
        earlier.update({"status": "succeeded"}, synchronize_session=False)
        run = session.query(StageRun).filter_by(job_id=job_id, stage=stage).one()
        run.status = "queued"
        session.flush()
        claimed = lifecycle.claim(session, run.id, "worker-1")
        assert claimed is not None
        if stage == Stage.PUBLISH:
            lifecycle.publish_version(session, session.get_one(Job, job_id), kind="cnn", artefact_key=key, manifest={})
        assert lifecycle.finish_stage(session, run.id, 1, artefact_key=key, reused=False, metrics={}, warnings=[])


@pytest.fixture
def job_id(client: TestClient) -> str:
    found: str = client.post("/jobs", json={"name": "triage", "dataset": {"rows": ROWS}}).json()["id"]
    return found


@pytest.fixture
def labelled(job_id: str, tmp_path: Path) -> str:
    lines = "".join(json.dumps(text, ensure_ascii=False) + "\n" for text in TEXTS)
    store(Stage.LABEL, "label-key", tmp_path / "label", {"synthetic.jsonl": lines})
    finish(job_id, Stage.LABEL, "label-key")
    return job_id


def texts(answer: Any) -> list[str]:
    assert answer.status_code == 200, answer.text
    return [item["text"] for item in answer.json()["items"]]


def test_texts_before_they_are_labelled(client: TestClient, job_id: str) -> None:
    answer = client.get(f"/jobs/{job_id}/synthetic")
    assert (answer.status_code, answer.json()["type"]) == (409, "urn:gendistil:synthetic-not-ready")


def test_texts_in_pages(client: TestClient, labelled: str) -> None:
    path = f"/jobs/{labelled}/synthetic"
    first = client.get(path, params={"limit": 2})
    assert texts(first) == ["one\u2028still one", "two"]
    assert first.json()["items"][1] == {"id": 2, **TEXTS[1]}
    assert first.json()["has_more"]
    second = client.get(path, params={"limit": 2, "after": first.json()["next_after"]})
    assert texts(second) == ["three"]
    assert not second.json()["has_more"]
    kept = client.get(path, params={"limit": 1, "verdict": "kept"})
    assert texts(kept) == ["one\u2028still one"]
    assert texts(client.get(path, params={"limit": 1, "verdict": "kept", "after": kept.json()["next_after"]})) == ["three"]
    assert texts(client.get(path, params={"verdict": "empty"})) == []


def test_texts_as_json_lines(client: TestClient, labelled: str) -> None:
    path = f"/jobs/{labelled}/synthetic"
    answer = client.get(path, headers={"accept": "application/x-ndjson"})
    assert answer.headers["content-type"].startswith("application/x-ndjson")
    assert [json.loads(line) for line in answer.content.splitlines()] == TEXTS
    kept = client.get(path, headers={"accept": "application/x-ndjson"}, params={"verdict": "kept"})
    assert [json.loads(line)["text"] for line in kept.content.splitlines()] == ["one\u2028still one", "three"]


def test_a_job_that_generated_nothing_has_no_texts(client: TestClient, job_id: str, tmp_path: Path) -> None:
    store(Stage.LABEL, "label-key", tmp_path / "label", {"transfer.jsonl": "{}"})
    finish(job_id, Stage.LABEL, "label-key")
    assert texts(client.get(f"/jobs/{job_id}/synthetic")) == []
    assert client.get(f"/jobs/{job_id}/synthetic", headers={"accept": "application/x-ndjson"}).content == b""


def test_the_report(client: TestClient, job_id: str, tmp_path: Path) -> None:
    early = client.get(f"/jobs/{job_id}/report")
    assert (early.status_code, early.json()["type"]) == (409, "urn:gendistil:report-not-ready")
    gain = Interval(value=0.02, low=0.0, high=0.04)
    report = Report(
        labels=["a", "b"],
        holdout_rows=4,
        holdout_source="split",
        entries=[],
        generated={"kept": 2},
        generation_gain=gain,
        verdict="It helped.",
    )
    store(Stage.PUBLISH, "publish-key", tmp_path / "publish", {"report.json": report.model_dump_json()})
    finish(job_id, Stage.PUBLISH, "publish-key")
    answer = client.get(f"/jobs/{job_id}/report")
    assert answer.status_code == 200
    assert Report.model_validate(answer.json()) == report


def test_artefacts_that_the_blob_store_has_lost(client: TestClient, job_id: str) -> None:
    for stage, path in ((Stage.LABEL, "synthetic"), (Stage.PUBLISH, "report")):
        finish(job_id, stage, "gone")
        answer = client.get(f"/jobs/{job_id}/{path}")
        assert (answer.status_code, answer.json()["type"]) == (503, "urn:gendistil:artefact-missing")
    assert client.get(f"/jobs/{job_id}").json()["student"] == {"name": "triage", "version": 1}
