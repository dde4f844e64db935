"""What a job made: its report and its generated texts, read from a real blob store."""

import json
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from app.contracts.report import Interval, Report
from app.contracts.stages import Stage
from tests.app.calls import accepted, refused
from tests.app.jobs.transitions import finish_alone
from tests.app.storage.conftest import store_artefact

# U+2028 ends a line for str.splitlines, and not in JSON Lines.
TEXTS = [
    {"text": "one\u2028still one", "label": "a", "verdict": "kept", "probabilities": {"a": 0.9, "b": 0.1}},
    {"text": "two", "label": "b", "verdict": "duplicate", "probabilities": None},
    {"text": "three", "label": None, "verdict": "kept", "probabilities": {"b": 1.0}},
]


@pytest.fixture
def job_id(client: TestClient) -> str:
    return str(accepted(client)["id"])


@pytest.fixture
def labelled(job_id: str, tmp_path: Path) -> str:
    lines = "".join(json.dumps(text, ensure_ascii=False) + "\n" for text in TEXTS)
    store_artefact(tmp_path / "label", "label-key", {"synthetic.jsonl": lines.encode()}, Stage.LABEL)
    finish_alone(job_id, Stage.LABEL, "label-key")
    return job_id


def texts(answer: Any) -> list[str]:
    assert answer.status_code == 200, answer.text
    return [item["text"] for item in answer.json()["items"]]


def test_texts_before_they_are_labelled(client: TestClient, job_id: str) -> None:
    refused(client.get(f"/jobs/{job_id}/synthetic"), 409, "synthetic-not-ready")


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


def test_texts_that_match(client: TestClient, labelled: str) -> None:
    path = f"/jobs/{labelled}/synthetic"
    found = client.get(path, params={"label": "b", "order": "-confidence", "limit": 1})
    assert texts(found) == ["three"]
    assert (found.json()["total"], found.json()["has_more"]) == (2, True)
    assert texts(client.get(path, params={"label": "b", "order": "-confidence", "after": 3})) == ["two"]
    assert texts(client.get(path, params={"search": "STILL", "min_confidence": 0.9, "max_confidence": 0.9})) == ["one\u2028still one"]
    lines = client.get(path, params={"search": "t", "order": "confidence"}, headers={"accept": "application/x-ndjson"}).content
    assert [json.loads(line)["text"] for line in lines.splitlines()] == ["one\u2028still one", "three", "two"]
    for wrong in ({"min_confidence": "nan"}, {"max_confidence": 1.1}, {"order": "text"}, {"search": "x" * 201}):
        refused(client.get(path, params=wrong), 422, "invalid-request")


def test_a_job_that_generated_nothing_has_no_texts(client: TestClient, job_id: str, tmp_path: Path) -> None:
    store_artefact(tmp_path / "label", "label-key", {"transfer.jsonl": b"{}"}, Stage.LABEL)
    finish_alone(job_id, Stage.LABEL, "label-key")
    assert texts(client.get(f"/jobs/{job_id}/synthetic")) == []
    assert client.get(f"/jobs/{job_id}/synthetic", headers={"accept": "application/x-ndjson"}).content == b""


def test_the_report(client: TestClient, job_id: str, tmp_path: Path) -> None:
    refused(client.get(f"/jobs/{job_id}/report"), 409, "report-not-ready")
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
    store_artefact(tmp_path / "publish", "publish-key", {"report.json": report.model_dump_json().encode()}, Stage.PUBLISH)
    finish_alone(job_id, Stage.PUBLISH, "publish-key")
    answer = client.get(f"/jobs/{job_id}/report")
    assert answer.status_code == 200
    assert Report.model_validate(answer.json()) == report


def test_artefacts_that_the_blob_store_has_lost(client: TestClient, job_id: str) -> None:
    for stage, path in ((Stage.LABEL, "synthetic"), (Stage.PUBLISH, "report")):
        finish_alone(job_id, stage, "gone")
        refused(client.get(f"/jobs/{job_id}/{path}"), 503, "artefact-missing")
    assert client.get(f"/jobs/{job_id}").json()["student"] == {"name": "triage", "version": 1}
