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
    for pragma in ("journal_mode=WAL", "synchronous=NORMAL", "foreign_keys=ON", "busy_timeout=30000"):
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
