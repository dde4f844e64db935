"""`POST /jobs?dry_run=true` over HTTP, on both databases."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import redis
from starlette.testclient import TestClient

from app.config import get_settings
from app.contracts.artefacts import artefact_key
from app.contracts.models import EMBEDDED_MODELS
from app.contracts.presets import PRESETS
from app.contracts.stages import GRAPH, Stage
from app.database import transaction
from app.storage import BlobStore, get_storage
from app.tables import Dataset, IdempotencyKey, Job, utcnow
from tests.app.calls import BODY, OTHER_ROWS, ROWS, accepted, count, post, refused
from tests.app.storage.conftest import manifest_of


def dry_run(api: TestClient, **changes: Any) -> Any:
    return api.post("/jobs", params={"dry_run": True}, json={**BODY, **changes})


def estimated(api: TestClient, **changes: Any) -> dict[str, Any]:
    answer = dry_run(api, **changes)
    assert answer.status_code == 200, answer.text
    body: dict[str, Any] = answer.json()
    return body


def test_every_stage_is_estimated_and_nothing_is_stored(api: TestClient, redis_url: str) -> None:
    answer = api.post("/jobs", params={"dry_run": True}, json=BODY, headers={"Idempotency-Key": "key"})
    assert answer.status_code == 200, answer.text
    found = answer.json()
    stages = found["stages"]
    assert [stage["name"] for stage in stages] == list(GRAPH)
    assert all(stage["seconds"] > 0 and stage["peak_bytes"] > 1e8 and stage["artefact_bytes"] > 0 for stage in stages)
    assert [stage["reused"] for stage in stages] == [False] * 6
    assert found["totals"]["seconds"] == pytest.approx(sum(stage["seconds"] for stage in stages), abs=0.1)
    assert found["totals"]["peak_bytes"] == max(stage["peak_bytes"] for stage in stages)
    assert found["totals"]["artefact_bytes"] == sum(stage["artefact_bytes"] for stage in stages)
    assert (found["past_jobs"], found["preset"]) == (0, "fast")
    assert found["memory_bytes"] > 2**28
    assert found["free_bytes"] == pytest.approx(get_storage().free_bytes(), rel=0.2)
    assert found["spec"] == PRESETS["fast"].model_dump(mode="json")
    assert count(Job) == count(Dataset) == count(IdempotencyKey) == 0
    assert list(get_storage().dataset_hashes()) == []
    with redis.Redis.from_url(redis_url) as client:
        assert client.keys("*") == []


def test_it_checks_what_a_job_is_checked_for(api: TestClient) -> None:
    refused(dry_run(api, dataset={"rows": ROWS[:6]}), 422, "too-few-classes")
    refused(dry_run(api, dataset="ds_0"), 404, "dataset-not-found")
    refused(dry_run(api, spec={"distil": {"alpha": 2}}), 422, "invalid-spec")
    refused(api.post("/jobs", params={"dry_run": "perhaps"}, json=BODY), 422, "invalid-request")
    post(api)
    refused(dry_run(api, dataset={"rows": OTHER_ROWS}), 409, "name-taken")
    assert estimated(api, dataset={"rows": OTHER_ROWS}, replace_dataset=True)["name"] == "triage"
    assert any("duplicate" in warning for warning in estimated(api, dataset={"rows": [*ROWS, ROWS[0]]})["warnings"])


def test_stages_that_are_there_already_cost_nothing(api: TestClient, tmp_path: Path) -> None:
    dataset = api.post("/datasets", json={"rows": ROWS}).json()
    spec = PRESETS["fast"]
    inputs = {"dataset": dataset["content_hash"], "model": EMBEDDED_MODELS["minilm-l6"].sha256}
    key = artefact_key(Stage.FINETUNE_TEACHER, spec, inputs)
    (tmp_path / "made").mkdir()
    (tmp_path / "made" / "weights").write_text("w")
    get_storage().publish(tmp_path / "made", manifest_of(tmp_path / "made", ["weights"], key, Stage.FINETUNE_TEACHER))
    before = estimated(api, spec={"teacher": {"seed": 1}})
    for source in (dataset["id"], {"rows": ROWS}):
        found = estimated(api, dataset=source)
        teacher = found["stages"][0]
        assert (teacher["reused"], teacher["seconds"], teacher["peak_bytes"], teacher["artefact_bytes"]) == (True, 0, 0, 0)
        assert [stage["reused"] for stage in found["stages"][1:]] == [False] * 5
        assert found["totals"]["artefact_bytes"] < before["totals"]["artefact_bytes"]
        assert found["totals"]["seconds"] < before["totals"]["seconds"]
    assert before["stages"][0]["reused"] is False


def test_what_depends_on_weights_that_only_a_worker_reads_is_unknown(api: TestClient) -> None:
    stages = estimated(api, spec={"generator": {"model": "openai-community/gpt2"}})["stages"]
    assert {stage["name"]: stage["reused"] for stage in stages} == {
        "finetune_teacher": False,
        "finetune_generator": None,
        "generate": None,
        "label": None,
        "distil": None,
        "publish": False,
    }
    assert all(stage["seconds"] > 0 for stage in stages)


def test_too_little_memory_is_told_by_stage(api: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    needed = {stage["name"]: stage["peak_bytes"] for stage in estimated(api)["stages"]}
    limit = sorted(needed.values())[-2]
    monkeypatch.setattr(get_settings().worker, "memory_bytes", limit)
    problem = refused(dry_run(api), 422, "does-not-fit")
    (largest,) = [name for name, size in needed.items() if size > limit]
    assert [error["column"] for error in problem["errors"]] == [f"stages.{largest}"]
    assert "GENDISTIL_WORKER__MEMORY_BYTES" in problem["detail"]
    monkeypatch.setattr(get_settings().worker, "memory_bytes", max(needed.values()))
    assert estimated(api)["memory_bytes"] == max(needed.values())


def test_too_little_room_is_told(api: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """A finished stage lies twice for a moment: where it was made, and in the store."""
    found = estimated(api)
    stages = found["totals"]["artefact_bytes"] + max(stage["artefact_bytes"] for stage in found["stages"])
    monkeypatch.setattr(BlobStore, "free_bytes", lambda _store: stages)  # the rows take a few bytes more
    problem = refused(dry_run(api), 507, "does-not-fit")
    assert "blob store" in problem["detail"]
    assert "gc" in problem["remedy"]
    monkeypatch.setattr(BlobStore, "free_bytes", lambda _store: stages + 10_000)
    assert estimated(api)["free_bytes"] == stages + 10_000


def test_past_jobs_scale_the_figures(api: TestClient) -> None:
    before = {stage["name"]: stage for stage in estimated(api)["stages"]}
    job_id = accepted(api)["id"]
    now = utcnow()
    with transaction() as session:
        job = session.get_one(Job, job_id)
        job.status, job.finished_at = "succeeded", now
        for run in job.stages:
            run.status, run.finished_at = "succeeded", now
            run.started_at = now - timedelta(seconds=3 * before[run.stage]["seconds"])
            run.peak_bytes = before[run.stage]["peak_bytes"] // 2
        job.stages[0].reused, job.stages[0].started_at, job.stages[0].peak_bytes = True, now, 1
    found = estimated(api)
    assert found["past_jobs"] == 1
    after = {stage["name"]: stage for stage in found["stages"]}
    for name in before:
        assert after[name]["seconds"] == pytest.approx(3 * before[name]["seconds"], rel=0.02)
        share = 1.0 if name == "finetune_teacher" else 0.5
        assert after[name]["peak_bytes"] == pytest.approx(share * before[name]["peak_bytes"], rel=0.01)
