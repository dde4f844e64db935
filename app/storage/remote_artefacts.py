"""Artefacts of an object store, which cannot rename a folder: files lie under a name that their content decides.

`artefacts/<key>/<files>/<name>`, where `<files>` is a hash over the names and hashes of the manifest. Two processes that publish
different content under one key so never mix their files, and the manifest, put last, says whose are in force.
"""

import hashlib
import json
import shutil
from pathlib import Path

from app.contracts.artefacts import ArtefactManifest
from app.storage.artefacts import ARTEFACTS, Artefacts, manifest_name, torn
from app.storage.blobs import part_name
from app.storage.hashes import file_sha256
from app.storage.remote import RemoteBlobs


def files_hash(manifest: ArtefactManifest) -> str:
    content = [[name, entry.sha256] for name, entry in sorted(manifest.files.items())]
    return hashlib.sha256(json.dumps(content, separators=(",", ":")).encode()).hexdigest()[:16]


class RemoteArtefacts(Artefacts):
    """Copies of what was read lie in `cache_dir`, each trusted only once this process has seen that it matches its hash."""

    _blobs: RemoteBlobs

    def __init__(self, blobs: RemoteBlobs, cache_dir: Path) -> None:
        super().__init__(blobs)
        self._cache_dir = cache_dir

    def publish(self, folder: Path, manifest: ArtefactManifest) -> ArtefactManifest:
        existing = self.manifest(manifest.key)
        if existing is not None and self._is_stored(existing):
            return existing
        for name in manifest.files:
            self._blobs.upload(folder / name, self.blob_name(manifest, name))
        content = manifest.model_dump_json(indent=1).encode()
        if not self._blobs.create(manifest_name(manifest.key), content):
            winner = self.manifest(manifest.key)
            if winner is not None and self._is_stored(winner):
                if files_hash(winner) != files_hash(manifest):
                    self._blobs.remove_folder(self._folder(manifest))
                return winner
            self._blobs.write(manifest_name(manifest.key), content)
        return manifest

    def drop(self, key: str) -> None:
        self._blobs.remove(manifest_name(key))
        self._blobs.remove_folder(f"{ARTEFACTS}/{key}")
        shutil.rmtree(self._cache_dir / key, ignore_errors=True)

    def _folder(self, manifest: ArtefactManifest) -> str:
        return f"{ARTEFACTS}/{manifest.key}/{files_hash(manifest)}"

    def _local_folder(self, manifest: ArtefactManifest) -> Path:
        return self._cache_dir / manifest.key / files_hash(manifest)

    def _local_file(self, manifest: ArtefactManifest, name: str) -> Path:
        copy, entry = self._local_folder(manifest) / name, manifest.files[name]
        if self._verified.matches(copy, entry):
            return copy
        copy.parent.mkdir(parents=True, exist_ok=True)
        part = Path(part_name(str(copy)))
        try:
            self._blobs.download(self.blob_name(manifest, name), part)
            if file_sha256(part) != entry.sha256:
                raise torn(manifest, name)
            part.replace(copy)
        except FileNotFoundError:
            raise torn(manifest, name) from None
        finally:
            part.unlink(missing_ok=True)
        self._verified.trust(copy, entry)
        return copy

    def _is_stored(self, manifest: ArtefactManifest) -> bool:
        """By sizes alone: the hashes would cost a download of everything."""
        folder = self._folder(manifest)
        sizes = {blob.name.removeprefix(f"{folder}/"): blob.bytes for blob in self._blobs.list(folder)}
        return sizes == {name: entry.bytes for name, entry in manifest.files.items()}
