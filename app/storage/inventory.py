"""What lies in a store, for whoever looks for what nothing uses any more."""

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from app.contracts.artefacts import MANIFEST
from app.storage.artefacts import ARTEFACTS, Artefacts, manifest_name
from app.storage.blobs import PART, Blob, Blobs
from app.storage.local import remove_tree


class StoredArtefact(NamedTuple):
    key: str
    bytes: int
    modified: datetime
    """Of its newest file, UTC."""
    has_manifest: bool


class StoredFolder(NamedTuple):
    """A dataset, by its content hash, a checkpoint, or a bulk prediction."""

    key: str
    bytes: int
    modified: datetime
    """Of its newest file, UTC."""


def folders(blobs: Blobs, parent: str) -> Iterator[StoredFolder]:
    for key, found in _by_key(parent, blobs.list(parent)).items():
        yield StoredFolder(key, _bytes(found), _newest(found))


def artefacts(blobs: Blobs) -> Iterator[StoredArtefact]:
    for key, found in _by_key(ARTEFACTS, blobs.list(ARTEFACTS)).items():
        manifest = f"{ARTEFACTS}/{key}/{MANIFEST}"
        yield StoredArtefact(key, _bytes(found), _newest(found), any(blob.name == manifest for blob in found))


def leftovers(blobs: Blobs, reader: Artefacts, older_than: datetime) -> Iterator[Blob]:
    """Half-written files and folders, one entry each, and files of an artefact that its manifest does not name."""
    everything = list(blobs.list(""))
    left: dict[str, list[Blob]] = {}
    for blob in everything:
        steps = blob.name.split("/")
        depth = next((number for number, step in enumerate(steps, start=1) if step.endswith(PART)), None)
        if depth is not None:
            left.setdefault("/".join(steps[:depth]), []).append(blob)
    for key, found in _by_key(ARTEFACTS, everything).items():
        left.update({blob.name: [blob] for blob in _unnamed(reader, key, found)})
    for name, found in left.items():
        if _newest(found) < older_than:
            yield Blob(name, _bytes(found), _newest(found))


def clean_cache(cache_dir: Path, reader: Artefacts, older_than: datetime) -> int:
    freed = 0
    for folder in list(cache_dir.iterdir()) if cache_dir.is_dir() else []:
        files = [_local_blob(path) for path in folder.rglob("*") if path.is_file()]
        if reader.manifest(folder.name) is not None:
            files = [file for file in files if file.name.endswith(PART)]
        if files and _newest(files) < older_than:
            freed += _bytes(files)
            for file in files:
                Path(file.name).unlink(missing_ok=True)
        if not any(path.is_file() for path in folder.rglob("*")):
            remove_tree(folder)
    return freed


def _unnamed(reader: Artefacts, key: str, found: list[Blob]) -> list[Blob]:
    # Costs a read, so only where several publishes left a folder each; without a manifest the whole artefact is left over.
    if len({blob.name.split("/")[2] for blob in found} - {MANIFEST}) < 2 or (manifest := reader.manifest(key)) is None:
        return []
    named = {manifest_name(key), *(reader.blob_name(manifest, name) for name in manifest.files)}
    return [blob for blob in found if blob.name not in named and not blob.name.endswith(PART)]


def _local_blob(path: Path) -> Blob:
    stat = path.stat()
    return Blob(str(path), stat.st_size, datetime.fromtimestamp(stat.st_mtime, UTC))


def _by_key(parent: str, blobs: Iterable[Blob]) -> dict[str, list[Blob]]:
    grouped: dict[str, list[Blob]] = {}
    for blob in blobs:
        folder, _, rest = blob.name.partition("/")
        key, separator, _ = rest.partition("/")
        if folder == parent and separator and not key.endswith(PART):
            grouped.setdefault(key, []).append(blob)
    return grouped


def _bytes(blobs: list[Blob]) -> int:
    return sum(blob.bytes for blob in blobs)


def _newest(blobs: list[Blob]) -> datetime:
    return max(blob.modified for blob in blobs)
