from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import pytest
from sqlalchemy import Engine, func, select
from sqlalchemy.orm import Session

from app.config import Limits
from app.contracts.rows import Row, parse_rows
from app.database import make_engine
from app.datasets.raw import RawRow
from app.datasets.service import get_dataset, list_datasets, prepare_rows, store_rows
from app.storage import BlobStore
from app.tables import Dataset
from tests.app.datasets.samples import kind_of, make_rows, refusal, with_rows

LIMITS = Limits()


@pytest.fixture
def engine(migrated_database_url: str) -> Iterator[Engine]:
    engine = make_engine(migrated_database_url)
    yield engine
    engine.dispose()


@pytest.fixture
def storage(tmp_path: Path) -> BlobStore:
    return BlobStore(f"file://{tmp_path / 'blobs'}", tmp_path / "cache")


def store(engine: Engine, storage: BlobStore, rows: list[RawRow], test: list[RawRow] | None = None) -> Dataset:
    with Session(engine, expire_on_commit=False) as session, session.begin():
        return store_rows(session, prepare_rows(rows, test or [], LIMITS), storage)


def count(engine: Engine) -> int:
    with Session(engine) as session:
        return session.scalar(select(func.count()).select_from(Dataset)) or 0


def test_rows_are_stored_under_their_hash(engine: Engine, storage: BlobStore) -> None:
    dataset = store(engine, storage, make_rows(), with_rows([], ("an unseen\ntext", "delivery")))
    with Session(engine) as session:
        read = get_dataset(session, dataset.id)
        assert (read.rows, read.test_rows, read.label_counts) == (12, 1, {"billing": 6, "delivery": 6})
        assert read.warnings == []
    folder = Path(storage.path(f"datasets/{dataset.content_hash}"))
    assert parse_rows((folder / "rows.jsonl").read_bytes()) == [Row(str(row.text), str(row.label)) for row in make_rows()]
    assert parse_rows((folder / "test.jsonl").read_bytes()) == [Row("an unseen\ntext", "delivery")]


def test_without_test_rows_there_is_no_test_file(engine: Engine, storage: BlobStore) -> None:
    dataset = store(engine, storage, make_rows())
    assert dataset.test_rows == 0
    assert [path.name for path in Path(storage.path(f"datasets/{dataset.content_hash}")).iterdir()] == ["rows.jsonl"]


def test_the_same_rows_are_stored_once_with_the_warnings_of_the_latest_upload(engine: Engine, storage: BlobStore) -> None:
    first = store(engine, storage, make_rows())
    again = store(engine, storage, [*make_rows(), RawRow(13, make_rows()[0].text, "delivery")])
    assert again.id == first.id
    assert again.warnings == ["1 duplicate row was dropped: row 13."]
    assert count(engine) == 1
    other = store(engine, storage, make_rows(), with_rows([], ("an unseen text", "delivery")))
    assert other.id != first.id
    assert count(engine) == 2


def test_uploads_at_the_same_time_get_the_same_dataset(engine: Engine, storage: BlobStore) -> None:
    barrier = Barrier(4)

    def upload() -> str:
        barrier.wait()
        return store(engine, storage, make_rows()).id

    with ThreadPoolExecutor(4) as pool:
        ids = {future.result() for future in [pool.submit(upload) for _ in range(4)]}
    assert len(ids) == 1
    assert count(engine) == 1


def test_bad_rows_leave_nothing_behind(engine: Engine, storage: BlobStore) -> None:
    refusal(lambda: store(engine, storage, with_rows(make_rows(), ("", "delivery"))))
    assert count(engine) == 0
    assert not Path(storage.root).exists()


def test_lost_blobs_come_back_with_the_next_upload(engine: Engine, storage: BlobStore) -> None:
    dataset = store(engine, storage, make_rows())
    blob = f"datasets/{dataset.content_hash}/rows.jsonl"
    content = storage.read(blob)
    Path(storage.path(blob)).unlink()
    store(engine, storage, make_rows())
    assert storage.read(blob) == content


@pytest.mark.parametrize("dataset_id", ["ds_0000000000000000", "", "a\0b", "\ud800", "x" * 5000])
def test_an_unknown_dataset(engine: Engine, dataset_id: str) -> None:
    with Session(engine) as session:
        problem = refusal(lambda: get_dataset(session, dataset_id))
    assert (problem.status, kind_of(problem)) == (404, "dataset-not-found")


def test_pages_hold_every_dataset_once_the_newest_first(engine: Engine, storage: BlobStore) -> None:
    ids = [store(engine, storage, make_rows(labels=("a", f"b{number}"))).id for number in range(5)]
    with Session(engine) as session, session.begin():
        # Equal times: the id decides, so that no page repeats or leaves out a row.
        moment = get_dataset(session, ids[1]).created_at
        get_dataset(session, ids[2]).created_at = moment
        get_dataset(session, ids[3]).created_at = moment
    seen: list[str] = []
    after = None
    with Session(engine) as session:
        for expected_more in (True, True, False):
            page, has_more = list_datasets(session, limit=2, after=after)
            seen += [dataset.id for dataset in page]
            assert has_more is expected_more
            after = seen[-1]
        assert list_datasets(session, limit=5)[1] is False
    assert [seen[0], *sorted(seen[1:4]), seen[4]] == [ids[4], *sorted(ids[1:4]), ids[0]]


def test_an_unknown_cursor(engine: Engine) -> None:
    with Session(engine) as session:
        problem = refusal(lambda: list_datasets(session, limit=2, after="ds_nowhere"))
    assert (problem.status, kind_of(problem)) == (422, "unknown-cursor")
