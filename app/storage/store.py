"""`BlobStore`: what the service keeps outside the database, by what it is."""

from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import fsspec
from fsspec.implementations.local import LocalFileSystem

from app.contracts.artefacts import ArtefactManifest
from app.storage import inventory
from app.storage.artefacts import Artefacts
from app.storage.blobs import PART, Blob, Blobs, part_name
from app.storage.inventory import StoredArtefact, StoredFolder
from app.storage.local import LocalBlobs, free_bytes
from app.storage.local_artefacts import LocalArtefacts
from app.storage.remote import RemoteBlobs
from app.storage.remote_artefacts import RemoteArtefacts

DATASETS = "datasets"
CHECKPOINTS = "checkpoints"
BULK = "bulk"


class BlobStore:
    """Named blobs, artefacts, datasets and checkpoints under one fsspec URL.

    Every method may raise what `STORAGE_AWAY` names, `PermissionError`, and `OSError` for a full disk. Safe to share between threads.
    """

    def __init__(self, url: str, cache_dir: Path) -> None:
        """`cache_dir` holds local copies of a remote store's artefacts."""
        self.cache_dir = cache_dir
        self._blobs: Blobs
        self._artefacts: Artefacts
        protocol = fsspec.core.split_protocol(url)[0]
        self.local = protocol is None or issubclass(fsspec.get_filesystem_class(protocol), LocalFileSystem)
        if self.local:
            local = LocalBlobs(Path(fsspec.core.url_to_fs(url)[1]))
            self._blobs, self._artefacts = local, LocalArtefacts(local)
        else:
            remote = RemoteBlobs(url)
            self._blobs, self._artefacts = remote, RemoteArtefacts(remote, cache_dir)

    @property
    def root(self) -> str:
        return self._blobs.path("").rstrip("/")

    @property
    def fs(self) -> Any:
        """The fsspec file system, for what this class does not offer; its errors are the driver's own."""
        return self._blobs.fs if isinstance(self._blobs, RemoteBlobs) else LocalFileSystem()

    def path(self, name: str) -> str:
        return self._blobs.path(name)

    def exists(self, name: str) -> bool:
        return self._blobs.exists(name)

    def read(self, name: str) -> bytes:
        """Raises `FileNotFoundError`."""
        return self._blobs.read(name)

    def write(self, name: str, content: bytes) -> None:
        """Whole or not at all."""
        self._blobs.write(name, content)

    def ping(self) -> None:
        """Raises if the store cannot be written and read."""
        self._blobs.write("ping", b"ok", durable=False)
        self._blobs.read("ping")

    def manifest(self, key: str) -> ArtefactManifest | None:
        """The manifest of a complete artefact, or None; one that cannot be read is not there."""
        return self._artefacts.manifest(key)

    def publish(self, folder: Path, manifest: ArtefactManifest) -> ArtefactManifest:
        """Stores a finished local folder as an artefact, which appears whole or not at all; replaces one that is torn.

        A whole artefact that is there already stays, so of two processes that publish under one key the first wins.
        Returns the manifest that is in force: this one, or the winner's.
        """
        return self._artefacts.publish(folder, manifest)

    def fetch(self, key: str) -> Path:
        """A local folder that holds the artefact, each file checked by hash: the store's own folder if it is local, else a copy.

        A file is hashed once in a process, as long as its size and times stay the same. A copy that does not match is fetched again.
        Raises `FileNotFoundError` if there is no such artefact, `TornArtefact` if a file of it is missing or changed.
        """
        return self._artefacts.fetch(key)

    def fetch_file(self, key: str, name: str) -> Path:
        """One file of an artefact, as `fetch` does it. Raises `FileNotFoundError` also if the artefact has no such file."""
        return self._artefacts.fetch_file(key, name)

    def read_verified(self, key: str, name: str) -> bytes:
        """One file of an artefact, checked by hash and kept nowhere. Raises as `fetch_file` does."""
        return self._artefacts.read_verified(key, name)

    def drop(self, key: str) -> None:
        """Removes an artefact so that nobody sees half of it, and this machine's copy; a missing one is no error."""
        self._artefacts.drop(key)

    def delete_dataset(self, content_hash: str) -> None:
        """A missing one is no error."""
        self._blobs.remove_folder(f"{DATASETS}/{content_hash}")

    def write_bulk_input(self, id: str, path: Path) -> None:
        """Stores a copy of a local file as the input of a bulk prediction."""
        self._blobs.upload(path, f"{BULK}/{id}/input")

    def read_bulk_input(self, id: str, path: Path) -> None:
        """Copies it into a local file, whose folder must exist. Raises `FileNotFoundError`."""
        self._blobs.download(f"{BULK}/{id}/input", path)

    def write_bulk_part(self, id: str, name: str, content: bytes) -> None:
        """A part of a bulk prediction's result; whole or not at all."""
        self._blobs.write(f"{BULK}/{id}/parts/{name}", content)

    def read_bulk_part(self, id: str, name: str) -> bytes:
        """Raises `FileNotFoundError`."""
        return self._blobs.read(f"{BULK}/{id}/parts/{name}")

    def bulk_parts(self, id: str) -> list[Blob]:
        """Those that are there, their `name`s as they were written, in the order of these."""
        folder = f"{BULK}/{id}/parts"
        found = [blob._replace(name=blob.name.removeprefix(f"{folder}/")) for blob in self._blobs.list(folder)]
        return sorted(blob for blob in found if not blob.name.endswith(PART))

    def delete_bulk(self, id: str) -> None:
        """Its input and its results; a missing one is no error."""
        self._blobs.remove_folder(f"{BULK}/{id}")

    def write_checkpoint(self, key: str, path: Path) -> None:
        """Stores a copy of a local file, in place of an earlier one; whole or not at all."""
        self._blobs.upload(path, _checkpoint(key))

    def read_checkpoint(self, key: str, path: Path) -> bool:
        """Copies the checkpoint into a local file, which appears whole or not at all; False if there is none."""
        path.parent.mkdir(parents=True, exist_ok=True)
        part = Path(part_name(str(path)))
        try:
            self._blobs.download(_checkpoint(key), part)
            part.replace(path)
        except FileNotFoundError:
            return False
        finally:
            part.unlink(missing_ok=True)
        return True

    def delete_checkpoint(self, key: str) -> None:
        """A missing one is no error."""
        self._blobs.remove_folder(f"{CHECKPOINTS}/{key}")

    def artefact_keys(self) -> Iterator[StoredArtefact]:
        """All artefacts, also those without a manifest: still being published, or left behind by a crash."""
        return inventory.artefacts(self._blobs)

    def dataset_hashes(self) -> Iterator[StoredFolder]:
        return inventory.folders(self._blobs, DATASETS)

    def bulk_ids(self) -> Iterator[StoredFolder]:
        return inventory.folders(self._blobs, BULK)

    def checkpoint_keys(self) -> Iterator[StoredFolder]:
        return inventory.folders(self._blobs, CHECKPOINTS)

    def temporary_files(self, older_than: datetime) -> Iterator[Blob]:
        """What crashed writers left behind and nobody has touched since `older_than` (UTC), for `delete_temporary`.

        In an object store also files of a publish that lost against another. What half an upload of many parts left there
        is not visible: the bucket's lifecycle rules remove it.
        """
        return inventory.leftovers(self._blobs, self._artefacts, older_than)

    def delete_temporary(self, name: str) -> None:
        """One of `temporary_files`, a file or a folder; a missing one is no error."""
        self._blobs.remove_folder(name)

    def clean_cache(self, older_than: datetime) -> int:
        """Removes this machine's copies of artefacts that the store no longer holds; returns the bytes freed."""
        return inventory.clean_cache(self.cache_dir, self._artefacts, older_than)

    def free_bytes(self) -> int | None:
        """Room in the store; None for an object store, which has no limit of its own."""
        return self._blobs.free_bytes()

    def scratch_free_bytes(self) -> int:
        """Room on this machine's disk, where stages work and copies of artefacts lie."""
        return free_bytes(self.cache_dir)


def _checkpoint(key: str) -> str:
    return f"{CHECKPOINTS}/{key}/state"
