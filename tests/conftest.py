"""Fixtures with real parts: databases, Redis, and the API on top of them."""

import os
import uuid
from collections.abc import Iterator
from pathlib import Path

# Before anything reads it: tests never reach for a model hub, nor do the processes they start.
os.environ["HF_HUB_OFFLINE"] = "1"

import pytest
import redis
from starlette.testclient import TestClient

from app.config import Settings, get_settings
from app.database import get_engine, read_session_factory, session_factory
from app.migrate import upgrade
from app.queue import producer
from app.storage import get_storage
from tests.servers import S3Server, postgres_database, postgres_server, redis_server, s3_server

_CACHED = (get_settings, get_engine, session_factory, read_session_factory, get_storage, producer)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files of long tests first: at the end, one would keep a process busy while the others have nothing left to do."""
    long = {item.path for item in items if item.get_closest_marker("e2e")}
    items.sort(key=lambda item: item.path not in long)


@pytest.fixture(scope="session")
def redis_process_url() -> Iterator[str]:
    with redis_server() as url:
        yield url


@pytest.fixture
def redis_url(redis_process_url: str) -> str:
    """A real Redis, emptied before each test."""
    with redis.Redis.from_url(redis_process_url) as client:
        client.flushall()
    return redis_process_url


@pytest.fixture(scope="session")
def postgres_server_url() -> Iterator[str]:
    with postgres_server() as url:
        yield url


@pytest.fixture
def postgres_url(postgres_server_url: str) -> Iterator[str]:
    """A fresh, empty PostgreSQL database."""
    with postgres_database(postgres_server_url, f"test_{uuid.uuid4().hex}") as url:
        yield url


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    """A SQLite file that does not exist yet."""
    return f"sqlite:///{tmp_path / 'test.db'}"


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest) -> str:
    """An empty database, of both kinds in turn; `migrated_database_url` has the tables."""
    url: str = request.getfixturevalue("sqlite_url" if request.param == "sqlite" else "postgres_url")
    return url


@pytest.fixture
def migrated_database_url(database_url: str) -> str:
    upgrade(database_url)
    return database_url


@pytest.fixture(scope="session")
def s3_process() -> Iterator[S3Server]:
    with s3_server() as server:
        yield server


@pytest.fixture
def s3_url(s3_process: S3Server, monkeypatch: pytest.MonkeyPatch) -> str:
    """A folder in a fresh, empty bucket of a real S3 server, which this process and its children find by their environment."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    for name, value in s3_process.environment().items():
        monkeypatch.setenv(name, value)
    bucket = f"test-{uuid.uuid4().hex}"
    s3_process.make_bucket(bucket)
    return f"s3://{bucket}/some/prefix"


@pytest.fixture(params=["folder", "s3"])
def storage_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty blob store, of both kinds in turn."""
    url: str = request.getfixturevalue("s3_url") if request.param == "s3" else f"file://{tmp_path / 'blobs'}"
    return url


def clear_caches() -> None:
    """Forgets everything that was made from the settings of an earlier test."""
    if get_engine.cache_info().currsize:
        get_engine().dispose()
    if producer.cache_info().currsize:
        producer().close()
    for cached in _CACHED:
        cached.cache_clear()


@pytest.fixture
def clean_settings(monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    """No setting of the machine's environment or `.env` reaches the test."""
    for name in list(os.environ):
        if name.startswith("GENDISTIL_") or name in {"DATABASE_URL", "REDIS_URL", "STORAGE_URL"}:
            monkeypatch.delenv(name)
    monkeypatch.setitem(Settings.model_config, "env_file", None)
    clear_caches()
    yield monkeypatch
    clear_caches()


@pytest.fixture
def service_env(clean_settings: pytest.MonkeyPatch, tmp_path: Path, redis_url: str) -> Settings:
    """Settings of a service on a temporary data folder, with migrated SQLite and a real Redis, in this process and its children."""
    clean_settings.setenv("GENDISTIL_DATA_DIR", str(tmp_path / "data"))
    clean_settings.setenv("REDIS_URL", redis_url)
    settings = get_settings()
    upgrade(settings.resolved_database_url())
    return settings


@pytest.fixture
def each_service_env(clean_settings: pytest.MonkeyPatch, tmp_path: Path, redis_url: str, migrated_database_url: str) -> Settings:
    """`service_env`, on SQLite and on PostgreSQL in turn."""
    clean_settings.setenv("GENDISTIL_DATA_DIR", str(tmp_path / "data"))
    clean_settings.setenv("REDIS_URL", redis_url)
    clean_settings.setenv("DATABASE_URL", migrated_database_url)
    return get_settings()


@pytest.fixture
def client(service_env: Settings) -> Iterator[TestClient]:
    """The API in `service_env`."""
    from app.main import create_app

    with TestClient(create_app()) as client:
        yield client
