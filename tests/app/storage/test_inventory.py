"""What a garbage collector sees of a store, and can remove."""

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

from app.storage import BlobStore
from tests.app.storage.conftest import FILES, contents, make_artefact

EVER = datetime.max.replace(tzinfo=UTC)


def test_artefacts_with_their_size_and_age(store: BlobStore, tmp_path: Path) -> None:
    assert list(store.artefact_keys()) == []
    before = datetime.now(UTC) - timedelta(seconds=2)  # S3 tells whole seconds
    for key in ("one", "two"):
        store.publish(tmp_path / "made", make_artefact(tmp_path / "made", key))
    store.fs.rm_file(store.path("artefacts/two/manifest.json"))
    one, two = sorted(store.artefact_keys())
    size = sum(len(content) for content in FILES.values())
    assert (one.key, one.has_manifest, two.key, two.has_manifest) == ("one", True, "two", False)
    assert (one.bytes, two.bytes) == (size + len(store.read("artefacts/one/manifest.json")), size)
    assert before <= one.modified <= datetime.now(UTC) + timedelta(seconds=1)


def test_datasets(store: BlobStore) -> None:
    assert list(store.dataset_hashes()) == []
    store.write("datasets/abc/rows.jsonl", b"rows")
    store.write("datasets/abc/test.jsonl", b"test")
    store.write("datasets/abcd/rows.jsonl", b"rows")
    assert sorted((found.key, found.bytes) for found in store.dataset_hashes()) == [("abc", 8), ("abcd", 4)]
    store.delete_dataset("abc")
    store.delete_dataset("abc")
    assert [found.key for found in store.dataset_hashes()] == ["abcd"]
    assert not store.exists("datasets/abc/test.jsonl")


def test_half_written_files_and_folders(tmp_path: Path) -> None:
    store = BlobStore(f"file://{tmp_path / 'blobs'}", tmp_path / "cache")
    store.publish(tmp_path / "made", make_artefact(tmp_path / "made"))
    root = tmp_path / "blobs"
    for name in ("datasets/abc/rows.jsonl.1f.part", "artefacts/key.2e.part/model.bin", "artefacts/key.2e.part/measured/head.bin"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"half")
    old = datetime.now(UTC) - timedelta(hours=2)
    for name in ("datasets/abc/rows.jsonl.1f.part", "artefacts/key.2e.part/model.bin"):
        os.utime(root / name, (old.timestamp(), old.timestamp()))
    an_hour_ago = datetime.now(UTC) - timedelta(hours=1)
    # The folder holds a newer file too: someone is still writing it.
    assert [(blob.name, blob.bytes) for blob in store.temporary_files(an_hour_ago)] == [("datasets/abc/rows.jsonl.1f.part", 4)]
    found = sorted(store.temporary_files(EVER))
    assert [(blob.name, blob.bytes) for blob in found] == [("artefacts/key.2e.part", 8), ("datasets/abc/rows.jsonl.1f.part", 4)]
    assert [artefact.key for artefact in store.artefact_keys()] == ["key"]
    for blob in found:
        store.delete_temporary(blob.name)
        store.delete_temporary(blob.name)
    assert list(store.temporary_files(EVER)) == []
    assert contents(store.fetch("key")) == FILES


def test_files_that_no_manifest_names(store: BlobStore, tmp_path: Path) -> None:
    store.publish(tmp_path / "made", make_artefact(tmp_path / "made"))
    lost = store.path("artefacts/key/0123456789abcdef/model.bin")
    store.fs.makedirs(lost.rpartition("/")[0], exist_ok=True)
    store.fs.pipe_file(lost, b"of a publish that lost")
    assert list(store.temporary_files(datetime.now(UTC) - timedelta(hours=1))) == []
    [found] = store.temporary_files(EVER)
    assert (found.name, found.bytes) == ("artefacts/key/0123456789abcdef/model.bin", 22)
    store.delete_temporary(found.name)
    assert list(store.temporary_files(EVER)) == []
    assert contents(store.fetch("key")) == FILES


def test_copies_of_what_is_gone_leave_the_cache(s3_url: str, tmp_path: Path) -> None:
    here, elsewhere = BlobStore(s3_url, tmp_path / "here"), BlobStore(s3_url, tmp_path / "elsewhere")
    assert here.clean_cache(EVER) == 0
    for key in ("kept", "gone"):
        here.publish(tmp_path / "made", make_artefact(tmp_path / "made", key))
        here.fetch(key)
    half = here.fetch("kept") / "model.bin.1f.part"
    half.write_bytes(b"half")
    elsewhere.drop("gone")
    assert here.clean_cache(datetime.now(UTC) - timedelta(hours=1)) == 0
    assert here.clean_cache(EVER) == sum(len(content) for content in FILES.values()) + 4
    assert [path.name for path in (tmp_path / "here").iterdir()] == ["kept"]
    assert contents(here.fetch("kept")) == FILES


def test_a_cleaned_store_lists_nothing(store: BlobStore, tmp_path: Path) -> None:
    store.publish(tmp_path / "made", make_artefact(tmp_path / "made"))
    store.write("datasets/abc/rows.jsonl", b"rows")
    store.write_checkpoint("key", tmp_path / "made" / "model.bin")
    store.drop("key")
    store.delete_dataset("abc")
    store.delete_checkpoint("key")
    assert [path for path in store.fs.find(store.path("")) if not path.endswith("/ping")] == []


def test_names_with_wildcards_stand_for_themselves(store: BlobStore, tmp_path: Path) -> None:
    files = {"*": b"1", "[a]": b"2", "\u00e9 \u00fc.json": b"3"}
    store.publish(tmp_path / "made", make_artefact(tmp_path / "made", files=files))
    store.publish(tmp_path / "other", make_artefact(tmp_path / "other", "key2"))
    assert contents(store.fetch("key")) == files
    store.drop("key")
    assert [artefact.key for artefact in store.artefact_keys()] == ["key2"]
    assert contents(store.fetch("key2")) == FILES
