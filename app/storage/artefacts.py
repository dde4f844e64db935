"""Artefacts: folders with a manifest, read by hash and stored so that nobody sees half of one."""

import hashlib
import logging
from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from pydantic import ValidationError

from app.contracts.artefacts import MANIFEST, ArtefactManifest
from app.storage.blobs import Blobs
from app.storage.errors import TornArtefact
from app.storage.hashes import VerifiedFiles

ARTEFACTS = "artefacts"

T = TypeVar("T")

logger = logging.getLogger(__name__)


def manifest_name(key: str) -> str:
    return f"{ARTEFACTS}/{key}/{MANIFEST}"


class Artefacts(ABC):
    """What local and remote stores have in common: reading. `BlobStore` documents the methods."""

    def __init__(self, blobs: Blobs) -> None:
        self._blobs = blobs
        self._verified = VerifiedFiles()

    def manifest(self, key: str) -> ArtefactManifest | None:
        try:
            return ArtefactManifest.model_validate_json(self._blobs.read(manifest_name(key)))
        except FileNotFoundError:
            return None
        except ValidationError as error:
            logger.warning("the manifest of artefact %s cannot be read, so it counts as not there: %s", key, error)
            return None

    def fetch(self, key: str) -> Path:
        def folder(manifest: ArtefactManifest) -> Path:
            for name in manifest.files:
                self._local_file(manifest, name)
            return self._local_folder(manifest)

        return self._whole(key, folder)

    def fetch_file(self, key: str, name: str) -> Path:
        return self._whole(key, lambda manifest: self._local_file(manifest, _known(manifest, name)))

    def read_verified(self, key: str, name: str) -> bytes:
        def content(manifest: ArtefactManifest) -> bytes:
            blob = self.blob_name(manifest, _known(manifest, name))
            try:
                found = self._blobs.read(blob)
            except FileNotFoundError:
                raise torn(manifest, name) from None
            if hashlib.sha256(found).hexdigest() != manifest.files[name].sha256:
                raise torn(manifest, name)
            return found

        return self._whole(key, content)

    @abstractmethod
    def publish(self, folder: Path, manifest: ArtefactManifest) -> ArtefactManifest: ...

    @abstractmethod
    def drop(self, key: str) -> None: ...

    def blob_name(self, manifest: ArtefactManifest, name: str) -> str:
        return f"{self._folder(manifest)}/{name}"

    @abstractmethod
    def _folder(self, manifest: ArtefactManifest) -> str:
        """Where its files are in the store."""

    @abstractmethod
    def _local_folder(self, manifest: ArtefactManifest) -> Path: ...

    @abstractmethod
    def _local_file(self, manifest: ArtefactManifest, name: str) -> Path:
        """Of a file that matches its hash. Raises `TornArtefact`."""

    def _whole(self, key: str, read: Callable[[ArtefactManifest], T]) -> T:
        while True:
            manifest = self.manifest(key)
            if manifest is None:
                raise FileNotFoundError(f"artefact {key} is not in {self._blobs.path('')}")
            try:
                return read(manifest)
            except TornArtefact:
                # With another manifest by now, it was dropped or made anew while it was read.
                if self.manifest(key) == manifest:
                    raise


def torn(manifest: ArtefactManifest, name: str) -> TornArtefact:
    return TornArtefact(f"{manifest.key}: {name} is missing or does not match its hash", key=manifest.key)


def _known(manifest: ArtefactManifest, name: str) -> str:
    if name not in manifest.files:
        raise FileNotFoundError(f"artefact {manifest.key} has no {name}")
    return name
