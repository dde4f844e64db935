"""The blob store on fsspec: a local folder by default, any other fsspec URL when it is shared.

Layout: `datasets/<hash>/rows.jsonl` (and `test.jsonl`), `artefacts/<key>/<file>` with `manifest.json` written last.
"""

import hashlib
import shutil
import uuid
from functools import lru_cache
from pathlib import Path

import fsspec
from fsspec.implementations.local import LocalFileSystem

from app.config import get_settings
from app.contracts.artefacts import MANIFEST, ArtefactManifest


class TornArtefact(Exception):
    """A file of an artefact is missing or differs from its manifest."""


class BlobStore:
    """Named blobs and artefact folders under one fsspec URL."""

    def __init__(self, url: str, cache_dir: Path) -> None:
        self.fs, root = fsspec.core.url_to_fs(url)
        self.root = str(root).rstrip("/")
        self.cache_dir = cache_dir
        self.local = isinstance(self.fs, LocalFileSystem)

    def path(self, name: str) -> str:
        return f"{self.root}/{name}"

    def exists(self, name: str) -> bool:
        return bool(self.fs.exists(self.path(name)))

    def read(self, name: str) -> bytes:
        """Raises `FileNotFoundError`."""
        content: bytes = self.fs.cat_file(self.path(name))
        return content

    def write(self, name: str, content: bytes) -> None:
        """Whole or not at all: written under another name, then moved into place."""
        target = self.path(name)
        self.fs.makedirs(target.rpartition("/")[0], exist_ok=True)
        temporary = f"{target}.{uuid.uuid4().hex}.part"
        self.fs.pipe_file(temporary, content)
        self.fs.mv(temporary, target)

    def manifest(self, key: str) -> ArtefactManifest | None:
        """The manifest of a complete artefact, or None."""
        try:
            return ArtefactManifest.model_validate_json(self.read(f"artefacts/{key}/{MANIFEST}"))
        except FileNotFoundError:
            return None

    def publish(self, folder: Path, manifest: ArtefactManifest) -> None:
        """Stores a finished local folder as an artefact; the manifest goes last, so its presence means that all is there."""
        for name in manifest.files:
            target = self.path(f"artefacts/{manifest.key}/{name}")
            self.fs.makedirs(target.rpartition("/")[0], exist_ok=True)
            temporary = f"{target}.{uuid.uuid4().hex}.part"
            self.fs.put_file(str(folder / name), temporary)
            self.fs.mv(temporary, target)
        self.write(f"artefacts/{manifest.key}/{MANIFEST}", manifest.model_dump_json(indent=1).encode())

    def fetch(self, key: str) -> Path:
        """A local folder that holds the artefact: the store's own if it is local, else a copy checked by hash.

        Raises `FileNotFoundError` if there is no such artefact, `TornArtefact` if a file of it is missing or changed.
        """
        manifest = self.manifest(key)
        if manifest is None:
            raise FileNotFoundError(f"artefact {key} is not in {self.root}")
        if self.local:
            folder = Path(self.path(f"artefacts/{key}"))
            for name, entry in manifest.files.items():
                if not (folder / name).is_file() or (folder / name).stat().st_size != entry.bytes:
                    raise TornArtefact(f"{key}: {name} is missing or has another size")
            return folder
        folder = self.cache_dir / key
        if (folder / MANIFEST).exists():
            return folder
        temporary = self.cache_dir / f"{key}.{uuid.uuid4().hex}.part"
        for name, entry in manifest.files.items():
            (temporary / name).parent.mkdir(parents=True, exist_ok=True)
            self.fs.get_file(self.path(f"artefacts/{key}/{name}"), str(temporary / name))
            if file_sha256(temporary / name) != entry.sha256:
                shutil.rmtree(temporary)
                raise TornArtefact(f"{key}: {name} does not match its hash")
        (temporary / MANIFEST).write_text(manifest.model_dump_json())
        try:
            temporary.rename(folder)
        except OSError:  # another process was first; its copy is as good
            shutil.rmtree(temporary)
        return folder

    def ping(self) -> None:
        """Raises if the store cannot be written and read."""
        self.write("ping", b"ok")
        self.read("ping")


def file_sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@lru_cache
def get_storage() -> BlobStore:
    settings = get_settings()
    return BlobStore(settings.resolved_storage_url(), settings.data_dir.resolve() / "cache")
