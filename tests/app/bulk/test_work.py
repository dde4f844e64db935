"""What becomes of a bulk prediction when its worker, its caller or a part of the service ends."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import pytest
import redis
from sqlalchemy import update
from starlette.testclient import TestClient

from app.bulk import lifecycle
from app.bulk.results import part_rows
from app.config import Settings
from app.contracts.bulk import BULK_QUEUE
from app.database import transaction
from app.storage import BlobStore, get_storage
from app.tables import BulkPrediction, utcnow
from tests.app.bulk.conftest import TEXTS, csv_of, read, send
from tests.waiting import together
from workers import bulk
from workers.bulk import run_bulk_prediction, sweep_bulk_once
from workers.stopping import shutting_down


@pytest.fixture(autouse=True)
def _small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bulk, "PART_ROWS", 5)
    monkeypatch.setattr(bulk, "_AT_ONCE", 2)


def texts_of(api: TestClient, id: str) -> list[str]:
    answer = api.get(f"/predictions/{id}/result", headers={"Accept": "text/csv"})
    assert answer.status_code == 200, answer.text
    return [line.partition(",")[0] for line in answer.text.splitlines()[1:]]


@contextmanager
def at_part(monkeypatch: pytest.MonkeyPatch, number: int, act: Callable[[], object]) -> Iterator[None]:
    """Does something just before the worker stores that part, counted from 0."""
    write, written = BlobStore.write_bulk_part, list[str]()

    def acting(storage: BlobStore, id: str, name: str, content: bytes) -> None:
        written.append(name)
        if len(written) == number + 1:
            act()
        write(storage, id, name, content)

    with monkeypatch.context() as patch:
        patch.setattr(BlobStore, "write_bulk_part", acting)
        yield


class Killed(BaseException):
    """Nothing in the worker catches it, as nothing catches SIGKILL."""


def kill() -> None:
    raise Killed


def silent_for_long(id: str) -> None:
    with transaction() as session:
        session.execute(update(BulkPrediction).where(BulkPrediction.id == id).values(heartbeat_at=utcnow() - timedelta(hours=1)))


def test_another_worker_goes_on_where_one_died(api: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    texts = [f"card {number}" for number in range(23)]
    id = send(api, csv_of(texts))["id"]
    with at_part(monkeypatch, 3, kill), pytest.raises(Killed):
        run_bulk_prediction(id)
    stored = [part.name for part in get_storage().bulk_parts(id)]
    assert [part_rows(name) for name in stored] == [(0, 6), (6, 6), (12, 6)]
    run_bulk_prediction(id)  # its message, delivered twice
    assert read(api, id)["status"] == "running"
    assert sweep_bulk_once() == 0
    silent_for_long(id)
    assert sweep_bulk_once() == 1
    lost = read(api, id)
    assert (lost["status"], lost["error"]["type"]) == ("queued", "worker-lost")

    run_bulk_prediction(id)
    ended = read(api, id)
    assert (ended["status"], ended["attempt"], ended["error"]) == ("succeeded", 2, None)
    assert texts_of(api, id) == texts
    assert [part.name for part in get_storage().bulk_parts(id)][:3] == stored
    with transaction() as session:
        assert session.get_one(BulkPrediction, id).parts == [part.name for part in get_storage().bulk_parts(id)]


def test_an_attempt_that_was_given_up_changes_nothing(api: TestClient) -> None:
    id = send(api, csv_of(TEXTS))["id"]
    with transaction() as session:
        assert lifecycle.claim(session, id, "first") is not None
    silent_for_long(id)
    sweep_bulk_once()
    with transaction() as session:
        assert lifecycle.claim(session, id, "second") is not None
    with transaction() as session:
        assert not lifecycle.heartbeat(session, id, 1, 3, 0)
        assert not lifecycle.finish(session, id, 1, rows=6, parts=["x"], result_bytes=1)
        assert not lifecycle.fail(session, id, 1, {}, retry=True, max_attempts=3)
        assert not lifecycle.release(session, id, 1)
        assert lifecycle.heartbeat(session, id, 2, 3, 0)
    assert read(api, id)["progress"]["done"] == 3


def test_of_many_workers_one_has_it(api: TestClient) -> None:
    id = send(api, csv_of(TEXTS))["id"]

    def claim() -> bool:
        with transaction() as session:
            return lifecycle.claim(session, id, "worker") is not None

    assert sorted(together(*[claim] * 4)) == [False, False, False, True]


def test_it_fails_after_its_last_attempt(api: TestClient, service_env: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    id = send(api, csv_of(TEXTS))["id"]
    for attempt in range(service_env.worker.max_attempts):
        with at_part(monkeypatch, 0, kill), pytest.raises(Killed):
            run_bulk_prediction(id)
        assert read(api, id)["attempt"] == attempt + 1
        silent_for_long(id)
        assert sweep_bulk_once() == 1
    ended = read(api, id)
    assert (ended["status"], ended["error"]["type"]) == ("failed", "worker-lost")
    assert ended["finished_at"]
    assert sweep_bulk_once(at_start=True) == 0


def test_a_cancelled_one_stops(api: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    texts = [f"pin {number}" for number in range(5000)]
    id = send(api, csv_of(texts))["id"]

    def cancel() -> None:
        answer = api.post(f"/predictions/{id}/cancel")
        assert (answer.status_code, answer.json()["status"]) == (202, "cancelled")

    with at_part(monkeypatch, 2, cancel):
        run_bulk_prediction(id)
    assert read(api, id)["status"] == "cancelled"
    assert read(api, id)["finished_at"]
    assert len(get_storage().bulk_parts(id)) < 1000
    assert api.get(f"/predictions/{id}/result").json()["type"] == "urn:gendistil:no-result"
    assert api.post(f"/predictions/{id}/cancel").status_code == 202
    run_bulk_prediction(id)
    assert read(api, id)["status"] == "cancelled"
    assert api.delete(f"/predictions/{id}").status_code == 204


def test_a_worker_that_stops_gives_it_back(api: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    texts = [f"pin {number}" for number in range(30)]
    id = send(api, csv_of(texts))["id"]
    with at_part(monkeypatch, 2, shutting_down.set):
        run_bulk_prediction(id)
    assert (read(api, id)["status"], read(api, id)["attempt"]) == ("queued", 0)
    run_bulk_prediction(id)  # it is about to end
    assert read(api, id)["status"] == "queued"
    shutting_down.clear()
    run_bulk_prediction(id)
    assert (read(api, id)["status"], read(api, id)["attempt"]) == ("succeeded", 1)
    assert texts_of(api, id) == texts


@pytest.mark.parametrize(
    ("damage", "type"),
    [("bulk", "damaged-input"), ("artefacts", "student-broken")],
)
def test_what_is_damaged_is_told(api: TestClient, damage: str, type: str) -> None:
    id = send(api, csv_of(TEXTS))["id"]
    for path in (Path(get_storage().root) / damage).rglob("*"):
        if path.is_file():
            path.write_bytes(path.read_bytes()[:-2])
    run_bulk_prediction(id)
    ended = read(api, id)
    assert (ended["status"], ended["error"]["type"], ended["attempt"]) == ("failed", type, 1)
    assert ended["error"]["remedy"]


def test_a_store_that_is_away_is_tried_again(api: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    id = send(api, csv_of(TEXTS))["id"]
    folder = Path(get_storage().root)
    folder.rename(folder.with_name("elsewhere"))
    folder.write_text("no folder")  # every path below it is refused
    run_bulk_prediction(id)
    found = read(api, id)
    assert (found["status"], found["error"]["type"]) == ("queued", "storage-unavailable")
    folder.unlink()
    folder.with_name("elsewhere").rename(folder)
    run_bulk_prediction(id)
    assert read(api, id)["status"] == "succeeded"


def test_lost_messages_are_sent_again(api: TestClient, redis_url: str) -> None:
    send(api, csv_of(TEXTS))
    with redis.Redis.from_url(redis_url) as connection:
        assert connection.llen(BULK_QUEUE) == 1
        assert sweep_bulk_once(at_start=True) == 0  # nothing was lost
        connection.flushall()
        assert sweep_bulk_once() == 0  # not yet
        assert sweep_bulk_once(at_start=True) == 1
        assert connection.llen(BULK_QUEUE) == 1


def test_many_scores_make_more_parts(api: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bulk, "PART_ROWS", 1000)
    monkeypatch.setattr(bulk, "PART_CHARS", 500)
    ids = [send(api, csv_of(TEXTS * 5), top_k=top_k)["id"] for top_k in (1, 3)]
    for id in ids:
        run_bulk_prediction(id)
    few, many = (len(get_storage().bulk_parts(id)) for id in ids)
    assert 1 < few < many
    assert [texts_of(api, id) for id in ids] == [TEXTS * 5] * 2
