"""Named blobs and checkpoints in a folder and in S3."""

import shutil
from pathlib import Path

import pytest

from app.storage import BlobStore
from tests.app.storage.conftest import OpenStore


def test_what_is_written_is_read(store: BlobStore, open_store: OpenStore) -> None:
    store.write("datasets/abc/rows.jsonl", b"first")
    store.write("datasets/abc/rows.jsonl", b"second")
    for reader in (store, open_store()):
        assert reader.read("datasets/abc/rows.jsonl") == b"second"
        assert reader.exists("datasets/abc/rows.jsonl")
        assert reader.exists("datasets")
        assert not reader.exists("datasets/abd")
    store.ping()


def test_a_missing_blob(store: BlobStore) -> None:
    with pytest.raises(FileNotFoundError):
        store.read("datasets/abc/rows.jsonl")


def test_checkpoints(store: BlobStore, open_store: OpenStore, tmp_path: Path) -> None:
    target = tmp_path / "new folder" / "state"
    assert not store.read_checkpoint("key", target)
    assert list(target.parent.iterdir()) == []
    for content in (b"epoch 1" * 10_000, b"epoch 2"):
        (tmp_path / "saved").write_bytes(content)
        store.write_checkpoint("key", tmp_path / "saved")
        assert open_store().read_checkpoint("key", target)
        assert target.read_bytes() == content
    assert [path.name for path in target.parent.iterdir()] == ["state"]
    [found] = store.checkpoint_keys()
    assert (found.key, found.bytes) == ("key", 7)
    store.delete_checkpoint("key")
    store.delete_checkpoint("key")
    assert list(store.checkpoint_keys()) == []
    assert not store.read_checkpoint("key", target)
    assert target.read_bytes() == b"epoch 2"


def test_room(store: BlobStore, tmp_path: Path) -> None:
    disk = shutil.disk_usage(tmp_path)
    assert not store.cache_dir.exists()
    assert 0 < store.scratch_free_bytes() <= disk.total
    if store.local:
        assert not Path(store.root).exists()
        assert 0 < (store.free_bytes() or 0) <= disk.total
    else:
        assert store.free_bytes() is None
