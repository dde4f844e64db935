"""Artefacts of a local or network folder: filled under another name, and renamed as a whole."""

import errno
import shutil
from pathlib import Path

from app.contracts.artefacts import MANIFEST, ArtefactManifest
from app.storage.artefacts import ARTEFACTS, Artefacts, torn
from app.storage.blobs import part_name
from app.storage.local import LocalBlobs, remove_tree, sync

# Linux says the one or the other of a folder that is in the way.
_OCCUPIED = {errno.ENOTEMPTY, errno.EEXIST}


class LocalArtefacts(Artefacts):
    def __init__(self, blobs: LocalBlobs) -> None:
        super().__init__(blobs)
        self._root = blobs.root / ARTEFACTS

    def publish(self, folder: Path, manifest: ArtefactManifest) -> ArtefactManifest:
        target = self._root / manifest.key
        part = Path(part_name(str(target)))
        try:
            _fill(part, folder, manifest)
            while not _take(part, target):
                existing = self.manifest(manifest.key)
                if existing is not None and self._is_whole(existing):
                    return existing
                self.drop(manifest.key)
        finally:
            remove_tree(part)
        sync(self._root)
        return manifest

    def drop(self, key: str) -> None:
        self._blobs.remove_folder(f"{ARTEFACTS}/{key}")

    def _folder(self, manifest: ArtefactManifest) -> str:
        return f"{ARTEFACTS}/{manifest.key}"

    def _local_folder(self, manifest: ArtefactManifest) -> Path:
        return self._root / manifest.key

    def _local_file(self, manifest: ArtefactManifest, name: str) -> Path:
        path = self._root / manifest.key / name
        if not self._verified.matches(path, manifest.files[name]):
            raise torn(manifest, name)
        return path

    def _is_whole(self, manifest: ArtefactManifest) -> bool:
        return all(self._verified.matches(self._root / manifest.key / name, entry) for name, entry in manifest.files.items())


def _fill(part: Path, folder: Path, manifest: ArtefactManifest) -> None:
    """Flushed to the disk before it gets its name: a loss of power must not leave a manifest without its files."""
    part.mkdir(parents=True)
    for name in manifest.files:
        copy = part / name
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(folder / name, copy)
        sync(copy)
    (part / MANIFEST).write_text(manifest.model_dump_json(indent=1))
    sync(part / MANIFEST)
    for parent in {part, *(path for path in part.rglob("*") if path.is_dir())}:
        sync(parent)


def _take(part: Path, target: Path) -> bool:
    """Renames unless the target is occupied."""
    try:
        part.rename(target)
    except OSError as error:
        if error.errno not in _OCCUPIED:
            raise
        return False
    return True
