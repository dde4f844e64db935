"""The blob store: a local or network folder by default, an object store such as S3 when several machines share it.

Layout: `datasets/<hash>/rows.jsonl` (and `test.jsonl`), `checkpoints/<key>/state`, and `artefacts/<key>/` with a `manifest.json`
whose presence means that all is there. Files that are still being written end in `.part`.
"""

from functools import lru_cache

from app.config import get_settings
from app.storage.errors import STORAGE_AWAY, StorageAway, TornArtefact
from app.storage.hashes import file_sha256
from app.storage.inventory import StoredArtefact, StoredFolder
from app.storage.store import BlobStore

__all__ = ["STORAGE_AWAY", "BlobStore", "StorageAway", "StoredArtefact", "StoredFolder", "TornArtefact", "file_sha256", "get_storage"]


@lru_cache
def get_storage() -> BlobStore:
    settings = get_settings()
    return BlobStore(settings.resolved_storage_url(), settings.data_dir.resolve() / "cache")
