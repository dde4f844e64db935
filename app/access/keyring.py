"""The keys there are, in memory: no request waits for the database to learn whether its key is good."""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import func, select, update
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session
from starlette.requests import Request

from app.access import keys
from app.database import read_session_factory, transaction
from app.ownership import every_project
from app.periodic import Periodic
from app.principals import Principal, granted
from app.tables import ApiKey, Project, utcnow

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
        self._now = now
        self._known: dict[str, _Known] = {}
        self._fingerprint: tuple[object, ...] = ()
        self._used: dict[str, datetime] = {}
        self._lock = threading.Lock()
        self._checked = float("-inf")
        self._watch = Periodic("keyring", self.refresh, refresh_seconds, meanwhile="keys are served from memory")
        self._last_uses = Periodic("key uses", self.write_uses, USE_SECONDS, meanwhile="uses of keys are kept in memory", at_end=True)

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
        asked = time.monotonic()
        with self._lock:
            if self._checked >= asked:  # another's look, which began after this one was wanted
                return
            time.sleep(max(0.0, self._checked + at_most_every - time.monotonic()))
            began = time.monotonic()
            with every_project(), read_session_factory()() as session:
                fingerprint = _fingerprint(session)
                if fingerprint != self._fingerprint:
                    self._known, self._fingerprint = _read(session), fingerprint
            # Not when it ended: what was committed meanwhile was not seen.
            self._checked = began

    def start(self) -> None:
        self._watch.start()
        self._last_uses.start()

    def stop(self) -> None:
        self._watch.stop()
        self._last_uses.stop()

    def write_uses(self) -> None:
        """Since the last time. Raises `SQLAlchemyError`; they are then written the next time."""
        used, self._used = self._used, {}
        try:
            if used:
                with every_project(), transaction() as session:
                    for key_id, moment in used.items():
                        session.execute(update(ApiKey).where(ApiKey.id == key_id).values(last_used_at=moment))
        except SQLAlchemyError:
            self._used = used | self._used
            raise

    def _good(self, known: _Known) -> Principal | None:
        now = self._now()
        if known.expires_at is not None and known.expires_at <= now:
            return None
        self._used[known.principal.key_id] = now
        return known.principal


def refresh_keyring(request: Request) -> None:
    """After a change was committed: it holds in this process before its caller is answered. Raises `SQLAlchemyError`."""
    keyring: Keyring | None = request.app.state.keyring
    if keyring is not None:
        keyring.refresh()


def _fingerprint(session: Session) -> tuple[object, ...]:
    """Keys are added and revoked, and never change otherwise."""
    keys = session.execute(select(func.count(), func.count(ApiKey.revoked_at), func.max(ApiKey.created_at)).select_from(ApiKey)).one()
    limits = session.execute(select(Project.id, Project.texts_per_second).where(Project.texts_per_second.is_not(None)).order_by(Project.id))
    return *keys, *map(tuple, limits)


def _read(session: Session) -> dict[str, _Known]:
    found = {}
    query = select(ApiKey, Project.texts_per_second).outerjoin(Project, Project.id == ApiKey.project_id).where(ApiKey.revoked_at.is_(None))
    for row, limit in session.execute(query):
        principal = Principal(row.id, row.name, granted(row.scopes), row.texts_per_second, row.project_id, limit)
        found[row.prefix] = _Known(principal, row.digest, row.expires_at)
    return found
