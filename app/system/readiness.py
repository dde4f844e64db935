"""Whether what the service stands on answers."""

import logging
from collections.abc import Callable

from sqlalchemy import text

from app.database import read_session_factory
from app.queue import producer
from app.storage import get_storage
from app.system.schemas import Check, Readiness

logger = logging.getLogger(__name__)


def readiness() -> Readiness:
    """Asks the database, Redis and the blob store. Never raises."""
    probes = {"database": _ping_database, "redis": _ping_redis, "storage": _ping_storage}
    checks = {name: _check(name, probe) for name, probe in probes.items()}
    return Readiness(ready=all(check.ok for check in checks.values()), checks=checks)


def _check(name: str, probe: Callable[[], None]) -> Check:
    try:
        probe()
    except Exception as error:  # each backend has its own; whichever it is, the answer is 'not ready'
        logger.warning("%s does not answer: %s", name, error)
        # The name alone: the whole message may hold an address and a password.
        return Check(ok=False, error=type(error).__name__)
    return Check(ok=True)


def _ping_database() -> None:
    with read_session_factory()() as session:
        session.execute(text("SELECT 1 FROM jobs LIMIT 1"))


def _ping_redis() -> None:
    with producer().connection_for_write() as connection, connection.channel() as channel:
        channel.client.ping()


def _ping_storage() -> None:
    get_storage().ping()
