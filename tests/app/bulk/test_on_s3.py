"""Bulk predictions whose files lie in a real S3 server."""

import pytest
from starlette.testclient import TestClient

from app.storage import get_storage
from tests.app.bulk.conftest import csv_of, read, send
from tests.app.bulk.test_work import Killed, at_part, kill, silent_for_long, texts_of
from workers import bulk
from workers.bulk import run_bulk_prediction, sweep_bulk_once


@pytest.fixture
def blobs_url(s3_url: str) -> str:
    return s3_url


@pytest.fixture
def database_url(sqlite_url: str) -> str:
    return sqlite_url


def test_from_the_file_to_its_deletion_over_a_worker_that_died(api: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bulk, "PART_ROWS", 5)
    monkeypatch.setattr(bulk, "_AT_ONCE", 2)
    texts = [f"card {number}" for number in range(23)]
    id = send(api, csv_of(texts))["id"]
    with at_part(monkeypatch, 2, kill), pytest.raises(Killed):
        run_bulk_prediction(id)
    stored = [part.name for part in get_storage().bulk_parts(id)]
    assert len(stored) == 2
    silent_for_long(id)
    assert sweep_bulk_once() == 1
    run_bulk_prediction(id)

    ended = read(api, id)
    assert (ended["status"], ended["attempt"], ended["error"]) == ("succeeded", 2, None)
    assert texts_of(api, id) == texts
    assert [part.name for part in get_storage().bulk_parts(id)][:2] == stored
    assert api.delete(f"/predictions/{id}").status_code == 204
    assert get_storage().bulk_parts(id) == []
