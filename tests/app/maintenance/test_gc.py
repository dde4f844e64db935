"""POST /maintenance/gc over HTTP, on a real blob store."""

import os
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import update
from starlette.testclient import TestClient

from app.contracts.presets import PRESETS
from app.contracts.reuse import expected_keys
from app.contracts.stages import Stage
from app.database import transaction
from app.jobs import lifecycle
from app.references import removed
from app.storage import get_storage
from app.tables import IdempotencyKey, Job, StageRun, utcnow
from tests.app.calls import OTHER_ROWS, ROWS, accepted
from tests.app.storage.conftest import store_artefact

NONE: dict[str, Any] = {"count": 0, "bytes": 0, "names": []}


def age(hours: float = 2) -> None:
    """Makes all that lies in the store older."""
    then = time.time() - 3600 * hours
    for path in Path(get_storage().root).rglob("*"):
        os.utime(path, (then, then))


def names() -> set[str]:
    """Of all files in the store."""
    root = Path(get_storage().root)
    return {path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file()}


def gc(client: TestClient, *, dry_run: bool = False) -> dict[str, Any]:
    answer = client.post("/maintenance/gc", params={"dry_run": dry_run})
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


@pytest.fixture
def job(client: TestClient) -> dict[str, Any]:
    return accepted(client)


def finish_teacher(job_id: str, key: str) -> None:
    with transaction() as session:
        run = session.query(StageRun).filter_by(job_id=job_id, stage=Stage.FINETUNE_TEACHER).one()
        assert lifecycle.claim(session, run.id, "worker-1") is not None
        assert lifecycle.finish_stage(session, run.id, 1, artefact_key=key, reused=False, metrics={}, warnings=[])


def test_orphans_go_and_what_is_used_stays(client: TestClient, job: dict[str, Any], tmp_path: Path) -> None:
    storage = get_storage()
    store_artefact(tmp_path / "used", "used")
    finish_teacher(job["id"], "used")
    kept = names()
    store_artefact(tmp_path / "orphan", "orphan")
    Path(storage.path("artefacts/torn")).mkdir()
    storage.write("artefacts/torn/weights", b"12345")
    storage.write("datasets/0123/rows.jsonl", b"{}")
    (tmp_path / "state").write_bytes(b"123")
    storage.write_checkpoint("gone", tmp_path / "state")
    storage.write("datasets/0123/test.jsonl.0123.part", b"1234567")
    age()
    orphans = names() - kept
    found = gc(client, dry_run=True)
    assert names() == kept | orphans
    assert found["dry_run"] is True
    assert (found["artefacts"]["count"], set(found["artefacts"]["names"])) == (2, {"orphan", "torn"})
    assert (found["datasets"]["count"], found["datasets"]["names"]) == (1, ["0123"])
    assert found["checkpoints"] == {"count": 1, "bytes": 3, "names": ["gone"]}
    assert found["temporary_files"]["count"] == 1
    done = gc(client)
    assert {**done, "dry_run": True, "temporary_files": {}, "bytes": 0} == {**found, "temporary_files": {}, "bytes": 0, "log_emptied": True}
    assert names() == kept
    again = gc(client)
    assert [again[kind] for kind in ("artefacts", "datasets", "checkpoints", "temporary_files")] == [NONE] * 4
    assert (again["bytes"], again["failed"]) == (0, 0)


def test_what_is_young_stays(client: TestClient, tmp_path: Path) -> None:
    store_artefact(tmp_path / "young", "young")
    assert gc(client)["artefacts"] == NONE
    age(0.9)
    assert gc(client)["artefacts"] == NONE
    age(1.1)
    assert gc(client)["artefacts"]["names"] == ["young"]


def test_the_checkpoint_of_a_job_that_can_go_on_stays(client: TestClient, job: dict[str, Any], tmp_path: Path) -> None:
    content_hash = client.get(f"/datasets/{job['dataset_id']}").json()["content_hash"]
    keys = expected_keys(PRESETS["fast"], content_hash)
    (tmp_path / "state").write_bytes(b"123")
    for key in (keys[Stage.FINETUNE_TEACHER], keys[Stage.FINETUNE_GENERATOR], "gone"):
        assert key is not None
        get_storage().write_checkpoint(key, tmp_path / "state")
    finish_teacher(job["id"], str(keys[Stage.FINETUNE_TEACHER]))  # which needs its checkpoint no more
    client.post(f"/jobs/{job['id']}/cancel")
    age()
    assert set(gc(client)["checkpoints"]["names"]) == {keys[Stage.FINETUNE_TEACHER], "gone"}
    client.delete(f"/jobs/{job['id']}")
    assert gc(client)["checkpoints"]["names"] == [keys[Stage.FINETUNE_GENERATOR]]


def test_a_checkpoint_under_a_key_that_cannot_be_told_stays_while_jobs_run(client: TestClient, job: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "state").write_bytes(b"123")
    get_storage().write_checkpoint("of-a-hub-model", tmp_path / "state")
    age()
    with transaction() as session:
        session.execute(update(Job).values(created_at=utcnow() - timedelta(hours=3)))
    assert gc(client)["checkpoints"] == NONE
    client.post(f"/jobs/{job['id']}/cancel")
    assert gc(client)["checkpoints"]["names"] == ["of-a-hub-model"]


def test_a_dataset_without_jobs_is_no_garbage(client: TestClient) -> None:
    client.post("/datasets", json={"rows": OTHER_ROWS})
    age()
    assert gc(client)["datasets"] == NONE


def test_expired_keys_go(client: TestClient) -> None:
    for key in ("old", "new"):
        client.post("/datasets", json={"rows": ROWS}, headers={"Idempotency-Key": key})
    with transaction() as session:
        session.execute(update(IdempotencyKey).where(IdempotencyKey.key == "old").values(created_at=utcnow() - timedelta(hours=25)))
    assert gc(client, dry_run=True)["idempotency_keys"] == 1
    assert gc(client)["idempotency_keys"] == 1
    with transaction() as session:
        assert [row.key for row in session.query(IdempotencyKey)] == ["new"]


def test_what_cannot_be_removed_is_told_and_no_error(caplog: pytest.LogCaptureFixture) -> None:
    assert not removed("artefact k", Path("/proc/version").unlink)  # not even root may
    assert "artefact k" in caplog.text
    assert removed("artefact k", dict)
