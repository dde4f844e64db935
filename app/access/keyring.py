"""The keys there are, in memory: no request waits for the database to learn whether its key is good."""

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import func, select, update
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from app.access import keys
from app.database import read_session_factory, transaction
from app.principals import Principal, granted
from app.tables import ApiKey, utcnow

logger = logging.getLogger(__name__)

MISS_SECONDS = 0.02
"""A key that is not known is looked for in the database no more often, whoever asks."""
USE_SECONDS = 60.0
"""How often the last uses of keys are written down."""


@dataclass(frozen=True, slots=True)
class _Known:
    principal: Principal
    digest: str
    expires_at: datetime | None


class Keyring:
    """Safe to share between threads. Keys that were revoked are unknown here at the latest `refresh_seconds` later."""

    def __init__(self, refresh_seconds: float, now: Callable[[], datetime] = utcnow) -> None:
        self._refresh_seconds = refresh_seconds
        self._now = now
        self._known: dict[str, _Known] = {}
        self._fingerprint: tuple[object, ...] = ()
        self._used: dict[str, datetime] = {}
        self._lock = threading.Lock()
        self._checked = self._written = float("-inf")
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None

    def find(self, text: str) -> Principal | None:
        """From memory: of a key that is good now."""
        prefix = keys.prefix_of(text)
        known = self._known.get(prefix) if prefix else None
        return self._good(known) if known is not None and keys.same(known.digest, text) else None

    def find_prefix(self, prefix: str) -> Principal | None:
        """Of a key that somebody has shown before: a session remembers its prefix."""
        known = self._known.get(prefix)
        return self._good(known) if known is not None else None

    def wait_seconds(self) -> float:
        """Until the database may be asked about a key that is not known."""
        return max(0.0, self._checked + MISS_SECONDS - time.monotonic())

    def refresh(self, *, at_most_every: float = 0.0) -> None:
        """Reads the keys again if they have changed. Raises `SQLAlchemyError`; what was known stays."""
        with self._lock:
            if time.monotonic() - self._checked < at_most_every:
                return
            with read_session_factory()() as session:
                fingerprint = _fingerprint(session)
                if fingerprint != self._fingerprint:
                    self._known, self._fingerprint = _read(session), fingerprint
            self._checked = time.monotonic()

    def start(self) -> None:
        self._stopping.clear()
        self._thread = threading.Thread(target=self._watch, name="keyring", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._stopping.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        self._try(self.write_uses)

    def write_uses(self) -> None:
        """Since the last time. Raises `SQLAlchemyError`; they are then written the next time."""
        used, self._used = self._used, {}
        try:
            if used:
                with transaction() as session:
                    for key_id, moment in used.items():
                        session.execute(update(ApiKey).where(ApiKey.id == key_id).values(last_used_at=moment))
        except SQLAlchemyError:
            self._used = used | self._used
            raise
        self._written = time.monotonic()

    def _good(self, known: _Known) -> Principal | None:
        now = self._now()
        if known.expires_at is not None and known.expires_at <= now:
            return None
        self._used[known.principal.key_id] = now
        return known.principal

    def _watch(self) -> None:
        while not self._stopping.wait(self._refresh_seconds):
            self._try(self.refresh)
            if time.monotonic() - self._written >= USE_SECONDS:
                self._try(self.write_uses)

    def _try(self, step: Callable[[], None]) -> None:
        try:
            step()
        except SQLAlchemyError as error:
            logger.warning("keys are served from memory: %s", error)


def _fingerprint(session: Session) -> tuple[object, ...]:
    """Rows are added and revoked, and never change otherwise."""
    return tuple(
        session.execute(select(func.count(), func.count(ApiKey.revoked_at), func.max(ApiKey.created_at)).select_from(ApiKey)).one()
    )


def _read(session: Session) -> dict[str, _Known]:
    found = {}
    for row in session.scalars(select(ApiKey).where(ApiKey.revoked_at.is_(None))):
        principal = Principal(row.id, row.name, granted(row.scopes), row.texts_per_second)
        found[row.prefix] = _Known(principal, row.digest, row.expires_at)
    return found
