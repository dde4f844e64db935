"""What a worker does beside its tasks."""

import os
import time

import pytest

from app.config import Settings
from app.storage import BlobStore, get_storage
from tests.app.storage.conftest import FILES, make_artefact
from tests.servers import S3Server
from workers.lifespan import clean_cache


@pytest.fixture
def away(service_env: Settings, s3_url: str, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Settings of a worker whose blobs lie in S3, so that it works on copies."""
    monkeypatch.setattr(service_env, "storage_url", s3_url)
    get_storage.cache_clear()
    return service_env


def copy_of_what_was_deleted(settings: Settings) -> BlobStore:
    """The worker's store, with copies of `kept` and `gone`, the second of which another machine has deleted."""
    storage, made = get_storage(), settings.data_dir / "made"
    long_ago = time.time() - 2 * settings.gc_grace_seconds
    for key in ("kept", "gone"):
        storage.publish(made, make_artefact(made, key))
        copy = storage.fetch(key)
        for path in (copy, *copy.rglob("*")):
            os.utime(path, (long_ago, long_ago))
    BlobStore(settings.resolved_storage_url(), settings.data_dir / "elsewhere").drop("gone")
    return storage


def test_a_worker_removes_its_copies_of_what_was_deleted(away: Settings) -> None:
    storage = copy_of_what_was_deleted(away)
    assert clean_cache() == sum(map(len, FILES.values()))
    assert [path.name for path in storage.cache_dir.iterdir()] == ["kept"]
    assert clean_cache() == 0


def test_a_store_that_is_away_is_left_for_later(away: Settings, s3_process: S3Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    storage = copy_of_what_was_deleted(away)
    s3_process.kill()
    try:
        assert clean_cache() == 0
        assert {path.name for path in storage.cache_dir.iterdir()} == {"kept", "gone"}
    finally:
        s3_process.start()
