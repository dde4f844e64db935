"""Bulk predictions on both databases, with a tiny real student, run in this process as a worker runs them."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from app.config import Settings, get_settings
from app.migrate import upgrade
from tests.app.predictions.conftest import publish as publish  # the fixture
from workers.stopping import shutting_down

Json = dict[str, Any]
TEXTS = ["card", "my money", "pin pin card", "nothing known", "money pin", "card card money pin pin pin money"]


@pytest.fixture
def blobs_url() -> str:
    """Empty: they lie in the data folder."""
    return ""


@pytest.fixture
def service_env(
    clean_settings: pytest.MonkeyPatch, tmp_path: Path, redis_url: str, database_url: str, blobs_url: str
) -> Iterator[Settings]:
    """As the one above it, on SQLite and on PostgreSQL in turn."""
    clean_settings.setenv("STORAGE_URL", blobs_url)
    clean_settings.setenv("GENDISTIL_DATA_DIR", str(tmp_path / "data"))
    clean_settings.setenv("REDIS_URL", redis_url)
    clean_settings.setenv("DATABASE_URL", database_url)
    clean_settings.setenv("GENDISTIL_WORKER__RETRY_SECONDS", "0")
    clean_settings.setenv("GENDISTIL_WORKER__HEARTBEAT_SECONDS", "0.02")
    settings = get_settings()
    upgrade(settings.resolved_database_url())
    yield settings
    shutting_down.clear()


@pytest.fixture
def api(service_env: Settings, publish: Callable[..., int]) -> Iterator[TestClient]:
    """The whole API, with version 1 of `triage`."""
    from app.main import create_app

    publish()
    with TestClient(create_app()) as client:
        yield client


def send(api: TestClient, content: str | bytes, kind: str = "text/csv", status: int = 202, **params: Any) -> Json:
    """Posts a file; its answer."""
    headers = {"Content-Type": kind}
    answer = api.post("/predictions", content=content, headers=headers, params={"student": "triage", **params})
    assert answer.status_code == status, answer.text
    body: Json = answer.json()
    if status == 202:
        assert answer.headers["location"] == f"/predictions/{body['id']}"
    return body


def read(api: TestClient, id: str) -> Json:
    answer = api.get(f"/predictions/{id}")
    assert answer.status_code == 200, answer.text
    body: Json = answer.json()
    return body


def csv_of(texts: list[str]) -> str:
    return "text\n" + "".join(f"{text}\n" for text in texts)
