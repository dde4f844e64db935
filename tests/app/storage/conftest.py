"""Stores of both kinds, and artefacts to put into them."""

from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

from app.contracts.artefacts import ArtefactManifest, FileEntry
from app.contracts.stages import Stage
from app.storage import BlobStore, file_sha256, get_storage

OpenStore = Callable[[], BlobStore]
FILES = {"model.bin": b"weights" * 1000, "measured/head.bin": b"\x00\x01", "report.json": b'{"accuracy": 1}'}


def manifest_of(folder: Path, names: Iterable[str], key: str, stage: Stage) -> ArtefactManifest:
    """Says what the named files of a folder are."""
    files = {name: FileEntry(sha256=file_sha256(folder / name), bytes=(folder / name).stat().st_size) for name in names}
    return ArtefactManifest(stage=stage, key=key, version=1, spec={}, inputs={}, files=files, seconds=1)


def make_artefact(folder: Path, key: str = "key", files: dict[str, bytes] = FILES, stage: Stage = Stage.DISTIL) -> ArtefactManifest:
    """Writes the files into a folder, and says what they are."""
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return manifest_of(folder, files, key, stage)


def store_artefact(folder: Path, key: str, files: dict[str, bytes] = FILES, stage: Stage = Stage.DISTIL) -> None:
    """Puts an artefact, made in the folder, into the service's own store."""
    get_storage().publish(folder, make_artefact(folder, key, files, stage))


def contents(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file() and path.name != "manifest.json"
    }


def stored_path(store: BlobStore, key: str, name: str) -> str:
    """Where a file of an artefact lies, found as someone who damages it would find it."""
    [path] = [path for path in store.fs.find(store.path(f"artefacts/{key}")) if path.endswith(f"/{name}")]
    return str(path)


@pytest.fixture
def open_store(storage_url: str, tmp_path: Path) -> OpenStore:
    """Opens the store as a new process on this machine does: it has verified nothing yet."""
    return lambda: BlobStore(storage_url, tmp_path / "cache")


@pytest.fixture
def store(open_store: OpenStore) -> BlobStore:
    return open_store()
