"""Artefacts in a folder and in S3: found whole, or known to be torn."""

import os
import shutil
from datetime import UTC, datetime
from pathlib import Path

import pytest

from app.contracts.artefacts import ArtefactManifest
from app.storage import BlobStore, TornArtefact
from tests.app.storage.conftest import FILES, OpenStore, contents, make_artefact, stored_path


@pytest.fixture
def manifest(store: BlobStore, tmp_path: Path) -> ArtefactManifest:
    """Of an artefact that has been published."""
    made = make_artefact(tmp_path / "made")
    assert store.publish(tmp_path / "made", made) == made
    return made


def test_what_is_published_is_fetched(manifest: ArtefactManifest, open_store: OpenStore) -> None:
    store = open_store()
    assert store.manifest("key") == manifest
    folder = store.fetch("key")
    assert contents(folder) == FILES
    assert store.fetch("key") == folder
    assert store.fetch_file("key", "measured/head.bin") == folder / "measured/head.bin"
    assert store.read_verified("key", "report.json") == FILES["report.json"]


def test_what_is_not_there(store: BlobStore, manifest: ArtefactManifest) -> None:
    assert store.manifest("other") is None
    with pytest.raises(FileNotFoundError, match="other"):
        store.fetch("other")
    with pytest.raises(FileNotFoundError, match="other"):
        store.read_verified("other", "report.json")
    with pytest.raises(FileNotFoundError, match=r"has no none\.json"):
        store.read_verified("key", "none.json")
    with pytest.raises(FileNotFoundError, match=r"has no none\.json"):
        store.fetch_file("key", "none.json")


@pytest.mark.parametrize("damage", ["cut", "changed", "missing"])
@pytest.mark.parametrize("warm", [False, True], ids=["new process", "fetched before"])
@pytest.mark.usefixtures("manifest")
def test_a_damaged_file_is_noticed(damage: str, warm: bool, store: BlobStore, open_store: OpenStore) -> None:
    if warm:
        store.fetch("key")
    path = stored_path(store, "key", "model.bin")
    if damage == "missing":
        store.fs.rm_file(path)
    else:
        store.fs.pipe_file(path, FILES["model.bin"][:-1] if damage == "cut" else FILES["model.bin"][:-1] + b"x")
    reader = store if store.local else BlobStore(f"s3://{store.root}", store.cache_dir.parent / "cache of another machine")
    for read in (reader.fetch, lambda key: reader.fetch_file(key, "model.bin"), lambda key: reader.read_verified(key, "model.bin")):
        with pytest.raises(TornArtefact, match=r"key: model\.bin") as caught:
            read("key")
        assert caught.value.key == "key"
    assert reader.read_verified("key", "report.json") == FILES["report.json"]


def test_times_set_back_hide_no_change(tmp_path: Path) -> None:
    store = BlobStore(f"file://{tmp_path / 'blobs'}", tmp_path / "cache")
    store.publish(tmp_path / "made", make_artefact(tmp_path / "made"))
    path = store.fetch("key") / "model.bin"
    times = path.stat()
    path.write_bytes(FILES["model.bin"][:-1] + b"x")
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    with pytest.raises(TornArtefact):
        store.fetch("key")


@pytest.mark.usefixtures("manifest")
def test_a_second_fetch_reads_no_content(store: BlobStore, monkeypatch: pytest.MonkeyPatch) -> None:
    store.fetch("key")
    monkeypatch.setattr("app.storage.hashes.file_sha256", lambda path: pytest.fail(f"{path} was read again"))
    store.fetch("key")


@pytest.mark.parametrize("content", [b"", b'{"stage": "dis', b"\xff\xfe", b"[]"])
def test_a_manifest_that_cannot_be_read_is_not_there(content: bytes, manifest: ArtefactManifest, store: BlobStore, tmp_path: Path) -> None:
    store.fs.pipe_file(store.path("artefacts/key/manifest.json"), content)
    assert store.manifest("key") is None
    with pytest.raises(FileNotFoundError):
        store.fetch("key")
    assert store.publish(tmp_path / "made", manifest) == manifest
    assert contents(store.fetch("key")) == FILES


@pytest.mark.parametrize("damage", ["cut", "changed", "missing"])
def test_a_damaged_copy_of_a_remote_artefact_is_fetched_again(damage: str, s3_url: str, tmp_path: Path) -> None:
    made = make_artefact(tmp_path / "made", "copied")
    BlobStore(s3_url, tmp_path / "cache").publish(tmp_path / "made", made)
    path = BlobStore(s3_url, tmp_path / "cache").fetch_file("copied", "model.bin")
    store = BlobStore(s3_url, tmp_path / "cache")
    for _ in range(2):  # as a new process, then as one that had seen it whole
        if damage == "missing":
            path.unlink()
        else:
            path.write_bytes(FILES["model.bin"][:-1] if damage == "cut" else FILES["model.bin"][:-1] + b"x")
        assert contents(store.fetch("copied")) == FILES


@pytest.mark.usefixtures("manifest")
def test_a_dropped_artefact_is_gone_and_can_be_made_anew(store: BlobStore, open_store: OpenStore, tmp_path: Path) -> None:
    store.fetch("key")
    store.drop("key")
    store.drop("key")
    for reader in (store, open_store()):
        assert reader.manifest("key") is None
        with pytest.raises(FileNotFoundError):
            reader.fetch("key")
    assert list(store.artefact_keys()) == []
    assert list(store.temporary_files(datetime.max.replace(tzinfo=UTC))) == []
    assert not (store.cache_dir / "key").exists()
    files = {**FILES, "model.bin": b"trained anew"}
    store.publish(tmp_path / "anew", make_artefact(tmp_path / "anew", files=files))
    assert contents(store.fetch("key")) == files


def test_a_copy_of_what_was_made_anew_elsewhere_is_not_used(s3_url: str, tmp_path: Path) -> None:
    here, elsewhere = BlobStore(s3_url, tmp_path / "here"), BlobStore(s3_url, tmp_path / "elsewhere")
    here.publish(tmp_path / "made", make_artefact(tmp_path / "made"))
    here.fetch("key")
    elsewhere.drop("key")
    files = {**FILES, "model.bin": b"WEIGHTS" * 1000}
    elsewhere.publish(tmp_path / "anew", make_artefact(tmp_path / "anew", files=files))
    assert contents(here.fetch("key")) == files


def test_a_whole_artefact_stays_and_a_torn_one_is_replaced(
    manifest: ArtefactManifest, store: BlobStore, open_store: OpenStore, tmp_path: Path
) -> None:
    files = {"model.bin": b"another run's"}
    other = make_artefact(tmp_path / "other", files=files)
    assert store.publish(tmp_path / "other", other) == manifest
    assert contents(store.fetch("key")) == FILES
    store.fs.rm_file(stored_path(store, "key", "report.json"))
    assert open_store().publish(tmp_path / "other", other) == other
    assert contents(open_store().fetch("key")) == files


def test_what_a_crash_left_without_a_manifest_is_overwritten(manifest: ArtefactManifest, store: BlobStore, tmp_path: Path) -> None:
    store.fs.rm_file(store.path("artefacts/key/manifest.json"))
    store.fs.pipe_file(stored_path(store, "key", "model.bin"), b"half of")
    assert store.publish(tmp_path / "made", manifest) == manifest
    assert contents(store.fetch("key")) == FILES


def test_a_publish_that_fails_shows_nothing(store: BlobStore, tmp_path: Path) -> None:
    manifest = make_artefact(tmp_path / "made")
    (tmp_path / "made" / "report.json").unlink()
    with pytest.raises(FileNotFoundError):
        store.publish(tmp_path / "made", manifest)
    assert store.manifest("key") is None
    assert [artefact.has_manifest for artefact in store.artefact_keys()] == ([] if store.local else [False])
    shutil.rmtree(tmp_path / "made")
    store.publish(tmp_path / "made", make_artefact(tmp_path / "made"))
    assert contents(store.fetch("key")) == FILES
