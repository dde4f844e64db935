"""Migrations, run from code: `python -m app.migrate` brings the configured database to the newest schema."""

import importlib.util
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, event, make_url, text

from app.config import get_settings
from app.database import make_engine
from app.logs import configure_logging

_LOCK = 4_745_601_120
"""Key of the PostgreSQL advisory lock; any number that nothing else in the database uses."""


def migrations_folder() -> Path:
    """Folder of the installed `migrations` package. Raises `FileNotFoundError` if it is not installed."""
    spec = importlib.util.find_spec("migrations")
    if spec is None or spec.origin is None:
        raise FileNotFoundError("the package `migrations` is not installed")
    return Path(spec.origin).parent


@contextmanager
def migration_connection(database_url: str) -> Iterator[Connection]:
    """One transaction around all migrations, which one process at a time may hold: others wait, then find nothing left to do."""
    url = make_url(database_url)
    engine = make_engine(database_url)
    if url.get_backend_name() == "sqlite":
        if url.database and url.database != ":memory:":
            Path(url.database).parent.mkdir(parents=True, exist_ok=True)
        # Batch mode replaces whole tables; the checks would fire in between, and cannot be switched inside a transaction.
        event.listen(engine, "connect", _without_foreign_keys)
    try:
        # On SQLite, make_engine's BEGIN IMMEDIATE is the lock.
        with engine.begin() as connection:
            if url.get_backend_name() == "postgresql":
                connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK})
            yield connection
    finally:
        engine.dispose()


def _without_foreign_keys(connection: Any, _record: Any) -> None:
    connection.execute("PRAGMA foreign_keys=OFF")


def upgrade(database_url: str, revision: str = "head") -> None:
    """Brings a database, empty or not, to `revision`. Safe when several processes start at once; all or nothing."""
    with migration_connection(database_url) as connection:
        command.upgrade(_config(connection), revision)


def downgrade(database_url: str, revision: str) -> None:
    """Takes a database back to `revision`; `base` leaves no tables."""
    with migration_connection(database_url) as connection:
        command.downgrade(_config(connection), revision)


def _config(connection: Connection) -> Config:
    config = Config()
    config.set_main_option("script_location", str(migrations_folder()).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    return config


if __name__ == "__main__":
    configure_logging()
    upgrade(get_settings().resolved_database_url())
