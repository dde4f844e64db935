"""What the service stands on, as the settings name it: Redis, database, blob store."""

import os
import shutil
from pathlib import Path

import redis
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry
from sqlalchemy import URL, make_url
from sqlalchemy.exc import SQLAlchemyError

from app.config import Settings
from app.database import make_engine
from app.doctor.findings import Finding
from app.embedded_parts import EmbeddedError, find_redis_server
from app.migrate import migrations_folder
from app.storage import BlobStore

LEAST_ROOM, USUAL_ROOM = 1_000_000_000, 5_000_000_000
"""Bytes: a job of the preset `fast` stores about 0.6 GB."""
_SECONDS = 5


def redis_server(settings: Settings) -> Finding:
    """One that is named must answer; else `gendistil up` starts its own."""
    if "redis_url" not in settings.model_fields_set:
        try:
            return Finding("redis", "ok", f"gendistil up starts {find_redis_server()}")
        except EmbeddedError as error:
            return Finding("redis", "fail", error.detail, error.remedy)
    retry = Retry(NoBackoff(), 0)
    try:
        with redis.Redis.from_url(settings.redis_url, socket_connect_timeout=_SECONDS, socket_timeout=_SECONDS, retry=retry) as connection:
            connection.ping()
            place = connection.connection_pool.connection_kwargs
    except (RedisError, ValueError, OSError) as error:
        detail = f"the Redis of REDIS_URL does not answer ({type(error).__name__})"
        return Finding("redis", "fail", detail, "Start it, or mend REDIS_URL; without it, gendistil up starts its own.")
    return Finding("redis", "ok", f"answers at {place.get('host', '')}:{place.get('port', '')}".strip(":"))


def database(settings: Settings) -> Finding:
    url = make_url(settings.resolved_database_url())
    shown = url.render_as_string(hide_password=True)
    # Connecting would make the file.
    if (file := sqlite_file(url)) is not None and not file.exists():
        return Finding("database", "ok", f"none yet; gendistil up makes {file}")
    try:
        engine = make_engine(settings.resolved_database_url())
        try:
            with engine.connect() as connection:
                current = MigrationContext.configure(connection).get_current_revision()
        finally:
            engine.dispose()
    except (SQLAlchemyError, OSError, ImportError) as error:
        return Finding("database", "fail", f"{shown} cannot be used ({type(error).__name__})", "Start it, or mend DATABASE_URL.")
    scripts = ScriptDirectory(str(migrations_folder()))
    head = scripts.get_current_head()
    if current == head:
        return Finding("database", "ok", f"{shown}, up to date ({head})")
    if current is not None:
        try:
            scripts.get_revision(current)
        except CommandError:
            detail = f"{shown} is of a newer gendistil (its migration {current} is not known here)"
            return Finding("database", "fail", detail, "Install that version, or use another database.")
    detail = f"{shown} is at migration {current or 'none'}, not {head}"
    return Finding("database", "warn", detail, "Run 'python -m app.migrate'; gendistil up does it by itself.")


def sqlite_file(url: URL) -> Path | None:
    """None of another database."""
    return Path(url.database) if url.get_backend_name() == "sqlite" and url.database else None


def storage(settings: Settings) -> Finding:
    """Whether the blob store can be written and read; a folder that is still to be made, whether it can be."""
    url = settings.resolved_storage_url()
    try:
        store = BlobStore(url, settings.data_dir.resolve() / "cache")
        if not store.local or Path(store.root).is_dir():
            store.ping()
            return Finding("storage", "ok", store.root)
        parent = _existing(Path(store.root))
    except Exception as error:  # each driver has its own; whichever it is, the store cannot be used
        remedy = "Mend STORAGE_URL, its driver and its credentials, or the folder's permissions."
        return Finding("storage", "fail", f"the blob store cannot be written and read ({type(error).__name__})", remedy)
    if not parent.is_dir() or not os.access(parent, os.W_OK):
        return Finding("storage", "fail", f"{parent} cannot be written", "Choose another folder with --data-dir, or STORAGE_URL.")
    return Finding("storage", "ok", f"none yet; gendistil up makes {store.root}")


def room(settings: Settings) -> Finding:
    """Of the data folder's disk, where stages work, and where the blobs lie unless `STORAGE_URL` says otherwise."""
    free = shutil.disk_usage(_existing(settings.data_dir.resolve())).free
    detail = f"{free / 1e9:.1f} GB free for {settings.data_dir}"
    remedy = "Run 'gendistil gc', delete old jobs, or choose a larger disk with --data-dir."
    if free < LEAST_ROOM:
        return Finding("room", "fail", detail, remedy)
    return Finding("room", "warn", f"{detail}; a job takes about 0.6", remedy) if free < USUAL_ROOM else Finding("room", "ok", detail)


def _existing(path: Path) -> Path:
    """The path, or the nearest above it that is there."""
    while not path.exists() and path != path.parent:
        path = path.parent
    return path
