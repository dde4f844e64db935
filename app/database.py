"""The engine, and the only place that commits for a request."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import Annotated, Any

from fastapi import Depends
from sqlalchemy import Engine, create_engine, event
from sqlalchemy.orm import Session, sessionmaker

from app.config import get_settings

_SQLITE_BEGIN = "sqlite_begin"
_TIMEOUT_MS = 30_000
_PATIENCE_MS = 2000


def make_engine(url: str) -> Engine:
    """An engine for `url`. SQLite runs in WAL mode and takes its write lock when a transaction begins, so that writers wait, not fail.

    Its errors do not quote the values of a statement, which may be a user's; they end up in logs.
    """
    if not url.startswith("sqlite"):
        return create_engine(url, pool_pre_ping=True, hide_parameters=True)
    # isolation_level=None: the driver starts no transaction of its own, the event below does.
    engine = create_engine(url, hide_parameters=True, connect_args={"timeout": 30, "isolation_level": None, "check_same_thread": False})
    event.listen(engine, "connect", _configure_sqlite)
    event.listen(engine, "begin", _begin_sqlite)
    return engine


def _configure_sqlite(connection: Any, _record: Any) -> None:
    # secure_delete: what is deleted is overwritten, also where SQLite was built without it.
    for pragma in ("journal_mode=WAL", "secure_delete=ON", "synchronous=NORMAL", "foreign_keys=ON", f"busy_timeout={_TIMEOUT_MS}"):
        connection.execute(f"PRAGMA {pragma}")


def _begin_sqlite(connection: Any) -> None:
    connection.exec_driver_sql(f"BEGIN {connection.get_execution_options().get(_SQLITE_BEGIN, 'IMMEDIATE')}")


@lru_cache
def get_engine() -> Engine:
    return make_engine(get_settings().resolved_database_url())


@lru_cache
def session_factory() -> sessionmaker[Session]:
    return sessionmaker(get_engine(), expire_on_commit=False)


@lru_cache
def read_session_factory() -> sessionmaker[Session]:
    return sessionmaker(get_engine().execution_options(**{_SQLITE_BEGIN: "DEFERRED"}), expire_on_commit=False)


def empty_write_ahead_log() -> bool:
    """SQLite: moves what is committed into the database file, and empties its log, which keeps pages as they were before a deletion.

    False if others are at work on it: they keep the log, and the next call may do better. Nothing to do elsewhere: True.
    """
    if get_engine().dialect.name != "sqlite":
        return True
    connection = get_engine().raw_connection()
    try:
        cursor = connection.cursor()
        cursor.execute(f"PRAGMA busy_timeout={_PATIENCE_MS}")  # others wait too meanwhile
        row = cursor.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        cursor.execute(f"PRAGMA busy_timeout={_TIMEOUT_MS}")
        return row is None or row[0] == 0
    finally:
        connection.close()


@contextmanager
def transaction() -> Iterator[Session]:
    """One unit of work: commits at the end, rolls back on an exception; messages queued in it are sent after the commit."""
    from app.queue import send_pending

    with session_factory()() as session:
        with session.begin():
            yield session
        send_pending(session)


def get_session() -> Iterator[Session]:
    with transaction() as session:
        yield session


def get_read_session() -> Iterator[Session]:
    """For requests that write nothing: on SQLite they take no write lock, so they never wait for a writer."""
    with read_session_factory()() as session:
        yield session


# scope="function": the commit happens before the response is sent, so a commit that fails is answered as an error.
SessionDep = Annotated[Session, Depends(get_session, scope="function")]
ReadSessionDep = Annotated[Session, Depends(get_read_session, scope="function")]
