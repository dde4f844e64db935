"""Several processes at one store."""

import multiprocessing
import resource
from datetime import UTC, datetime
from multiprocessing.context import ForkContext, SpawnContext, SpawnProcess
from pathlib import Path
from threading import Barrier

import pytest

from app.storage import BlobStore
from tests.app.storage.conftest import FILES, OpenStore, contents, make_artefact
from tests.waiting import wait_for

ROUNDS = 12
NOW = datetime.max.replace(tzinfo=UTC)
SPAWN: SpawnContext = multiprocessing.get_context("spawn")
FORK: ForkContext = multiprocessing.get_context("fork")


def files_of(who: str) -> dict[str, bytes]:
    """The same names in every process, and other content."""
    return {f"{number}.bin": f"{who}{number}".encode() * 500 for number in range(6)}


def publish_all(url: str, folder: Path, who: str, barrier: "Barrier") -> None:
    store = BlobStore(url, folder / "cache")
    for number in range(ROUNDS):
        manifest = make_artefact(folder / "made", f"key{number}", files_of(who))
        barrier.wait(120)
        in_force = store.publish(folder / "made", manifest)
        assert in_force.files in [make_artefact(folder / name, files=files_of(name)).files for name in ("a", "b")]


def test_two_publish_under_one_key_at_the_same_time(storage_url: str, open_store: OpenStore, tmp_path: Path) -> None:
    barrier = SPAWN.Barrier(2)
    processes = [SPAWN.Process(target=publish_all, args=(storage_url, tmp_path / who, who, barrier)) for who in ("a", "b")]
    for process in processes:
        process.start()
    for process in processes:
        process.join(240)
    assert [process.exitcode for process in processes] == [0, 0]
    store = open_store()
    assert {artefact.key for artefact in store.artefact_keys()} == {f"key{number}" for number in range(ROUNDS)}
    for number in range(ROUNDS):
        assert contents(store.fetch(f"key{number}")) in (files_of("a"), files_of("b"))
    assert list(store.temporary_files(NOW)) == []


def publish_many(url: str, folder: Path) -> None:
    store = BlobStore(url, folder / "cache")
    store.publish(folder / "made", make_artefact(folder / "made", files=many()))


def many() -> dict[str, bytes]:
    return {f"{number}.bin": b"x" * 100_000 for number in range(300)}


def kill_after_first_file(process: SpawnProcess, store: BlobStore) -> None:
    process.start()
    wait_for(lambda: store.fs.find(store.path("artefacts")), what="the first file", every=0.002)
    process.kill()
    process.join(60)


def test_a_publish_that_is_killed_shows_nothing_and_can_be_repeated(storage_url: str, store: BlobStore, tmp_path: Path) -> None:
    kill_after_first_file(SPAWN.Process(target=publish_many, args=(storage_url, tmp_path)), store)
    assert store.manifest("key") is None
    with pytest.raises(FileNotFoundError):
        store.fetch("key")
    left = list(store.temporary_files(NOW)) if store.local else list(store.artefact_keys())
    assert len(left) == 1
    assert 0 < left[0].bytes < 300 * 100_000
    store.publish(tmp_path / "made", make_artefact(tmp_path / "made", files=many()))
    assert contents(store.fetch("key")) == many()
    for blob in list(store.temporary_files(NOW)):
        store.delete_temporary(blob.name)
    assert list(store.temporary_files(NOW)) == []
    assert contents(store.fetch("key")) == many()


def write_over_the_limit(folder: Path) -> None:
    """As on a disk that is full after 1000 bytes."""
    store = BlobStore(f"file://{folder / 'blobs'}", folder / "cache")
    (folder / "state").write_bytes(b"new" * 1000)
    manifest = make_artefact(folder / "made")
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
    for write in (
        lambda: store.write("reports/one", b"new" * 1000),
        lambda: store.write_checkpoint("key", folder / "state"),
        lambda: store.publish(folder / "made", manifest),
    ):
        with pytest.raises(OSError, match="File too large"):
            write()


def test_a_write_that_breaks_off_leaves_the_old_content_and_no_rest(tmp_path: Path) -> None:
    store = BlobStore(f"file://{tmp_path / 'blobs'}", tmp_path / "cache")
    store.write("reports/one", b"old")
    process = SPAWN.Process(target=write_over_the_limit, args=(tmp_path,))
    process.start()
    process.join(120)
    assert process.exitcode == 0
    assert [path.name for path in (tmp_path / "blobs").rglob("*") if path.is_file()] == ["one"]
    assert store.read("reports/one") == b"old"


def write_one(url: str, folder: Path) -> None:
    BlobStore(url, folder / "cache").write("datasets/abc/rows.jsonl", b"rows")


def test_what_another_process_wrote_is_seen(storage_url: str, store: BlobStore, tmp_path: Path) -> None:
    store.write("datasets/one/rows.jsonl", b"")
    assert not store.exists("datasets/abc/rows.jsonl")
    assert [dataset.key for dataset in store.dataset_hashes()] == ["one"]
    process = SPAWN.Process(target=write_one, args=(storage_url, tmp_path))
    process.start()
    process.join(120)
    assert store.exists("datasets/abc/rows.jsonl")
    assert sorted(dataset.key for dataset in store.dataset_hashes()) == ["abc", "one"]


def fetch_inherited(store: BlobStore) -> None:
    assert contents(store.fetch("key")) == FILES


def test_a_store_survives_a_fork(store: BlobStore, tmp_path: Path) -> None:
    store.publish(tmp_path / "made", make_artefact(tmp_path / "made"))
    process = FORK.Process(target=fetch_inherited, args=(store,))
    process.start()
    process.join(120)
    assert process.exitcode == 0
    assert contents(store.fetch("key")) == FILES
