"""One real service for each module of the table: an API in this process, on SQLite, Redis and a folder, that knows a job and a student."""

import json
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from app.config import Settings, get_settings
from app.migrate import upgrade
from app.storage import get_storage
from tests.app.predictions.conftest import LABELS, store_student
from tests.app.students.published import register
from tests.conftest import clear_caches
from tests.hostile.attacks import JSONL, ROWS


@dataclass
class Service:
    """`known`: ids of what is there, for the paths of the table: `{job}`, `{dataset}`, `{bulk}`, `{webhook}`, `{file}`."""

    api: TestClient
    settings: Settings
    known: dict[str, str] = field(default_factory=dict)


_asked_for: set[str] = set()


def _note_addresses(event: str, arguments: tuple[Any, ...]) -> None:
    # An audit hook cannot be taken away again; it hears of every name and address that Python code of this process asks for.
    if event == "socket.getaddrinfo" and arguments[0] is not None:
        _asked_for.add(str(arguments[0]))
    elif event == "socket.connect" and isinstance(arguments[1], tuple):
        _asked_for.add(str(arguments[1][0]))


sys.addaudithook(_note_addresses)


@pytest.fixture
def asked_for() -> set[str]:
    """Names that were resolved and addresses that were connected to, during the test."""
    _asked_for.clear()
    return _asked_for


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory, redis_process_url: str) -> Iterator[pytest.MonkeyPatch]:
    """Settings of the module's own, as `service_env` makes them for a test."""
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith("GENDISTIL_") or name in {"DATABASE_URL", "STORAGE_URL"}]:
            patch.delenv(name)
        patch.setitem(Settings.model_config, "env_file", None)
        patch.setenv("GENDISTIL_DATA_DIR", str(tmp_path_factory.mktemp("hostile") / "data"))
        patch.setenv("REDIS_URL", redis_process_url)
        clear_caches()
        yield patch
        clear_caches()


@pytest.fixture(scope="module")
def service(environment: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    from app.main import create_app

    settings = get_settings()
    upgrade(settings.resolved_database_url())
    folder = tmp_path_factory.mktemp("students")
    manifest = store_student(get_storage(), folder / "triage", "key-1")
    register("triage", "job_1", "key-1", manifest.model_dump(mode="json"), dict.fromkeys(LABELS, 5))
    with TestClient(create_app()) as api:
        yield Service(api, settings, _known(api))


def _known(api: TestClient) -> dict[str, str]:
    job = api.post("/jobs", json={"name": "mine", "dataset": {"rows": ROWS}}).raise_for_status().json()
    bulk = api.post("/predictions", params={"student": "triage"}, content='{"text": "card"}\n', headers=JSONL).raise_for_status().json()
    hook = api.post("/webhooks", json={"url": "https://93.184.216.34/hook"}).raise_for_status().json()
    lines = "".join(f"{json.dumps(row)}\n" for row in ROWS)
    file = api.post("/v1/files", data={"purpose": "fine-tune"}, files={"file": lines}).raise_for_status().json()
    tuned = api.post("/v1/fine_tuning/jobs", json={"model": "fast", "training_file": file["id"]}).raise_for_status().json()
    return {
        "job": job["id"],
        "dataset": job["dataset_id"],
        "bulk": bulk["id"],
        "webhook": hook["id"],
        "file": file["id"],
        "tuned": tuned["id"],
    }


@pytest.fixture(scope="module")
def student_files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The files of a student that serves, by name."""
    from app.storage import BlobStore

    folder: Path = tmp_path_factory.mktemp("student")
    store_student(BlobStore(f"file://{folder / 'blobs'}", folder / "cache"), folder / "made", "key")
    return {path.name: path.read_bytes() for path in (folder / "made").iterdir() if path.name != "manifest.json"}
