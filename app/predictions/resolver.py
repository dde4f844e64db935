"""Which version a name means, from memory: no request for a known student waits for the database."""

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from sqlalchemy import func, select
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from app.database import read_session_factory
from app.errors import ServiceError, not_found
from app.jobs.aliases import LATEST
from app.students.service import find_student, parse_reference
from app.tables import Alias, AliasMove, Student

logger = logging.getLogger(__name__)

MISS_SECONDS = 0.02
"""What was not found is believed for so long, whoever asks; then the database is asked whether anything has changed."""
FULL_SECONDS = 60.0
"""Everything is read again after so long, even if nothing seems to have changed."""
LOCK_SECONDS = 2.0
MAX_REFUSALS = 1000


@dataclass(frozen=True, slots=True)
class Served:
    """A version that a reference means, and the key of its artefact."""

    name: str
    version: int
    key: str


@dataclass(frozen=True, slots=True)
class _Snapshot:
    """All that can be asked for, as it stood in the database; `refusals` is what has been asked for in vain since."""

    fingerprint: tuple[object, ...]
    known: dict[str, Served]
    refusals: dict[str, ServiceError]


class Resolver:
    """Safe to share between threads. `warm` is called with the keys that a name newly means, before anyone is sent there."""

    def __init__(self, refresh_seconds: float, warm: Callable[[dict[str, str]], None] = lambda _moved: None) -> None:
        self._refresh_seconds = refresh_seconds
        self._warm = warm
        self._snapshot = _Snapshot((), {}, {})
        self._lock = threading.Lock()
        self._checked = self._read = float("-inf")
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None

    @property
    def age(self) -> float:
        """Seconds since memory was last compared with the database."""
        return time.monotonic() - self._checked

    def find(self, reference: str) -> Served | None:
        """From memory alone; None where `look_up` has to be asked: also while nothing compares memory with the database."""
        return self._snapshot.known.get(reference) if self._thread else None

    def look_up(self, reference: str) -> Served:
        """What `find` does not know. Raises `ServiceError` as `find_student` does, and `SQLAlchemyError` if the database is away."""
        self.refresh(at_most_every=MISS_SECONDS)
        snapshot = self._snapshot
        if (served := snapshot.known.get(_plain(reference))) is not None:
            return served
        if (refusal := snapshot.refusals.get(reference)) is None:
            parse_reference(reference)
            if len(snapshot.refusals) >= MAX_REFUSALS:  # someone tries one name after the other
                raise not_found("student", reference, "GET /students lists the published ones.")
            try:
                with read_session_factory()() as session:
                    found = find_student(session, reference)
                return Served(found.name, found.version, found.artefact_key)  # published a moment ago
            except ServiceError as error:
                refusal = snapshot.refusals[reference] = error
        # Raised again and again, it would gather the frames of all who asked.
        raise refusal.with_traceback(None)

    def notice(self, reference: str) -> None:
        """For a `name:version` that somebody is about to be told of: after this, its name means here what it does in the database.

        If the database is away memory stays behind.
        """
        if self.find(reference) is None:
            self.follow()

    def follow(self) -> None:
        """Reads names that have changed. If the database is away, that is logged, and they follow when it is back."""
        try:
            self.refresh()
        except (SQLAlchemyError, ServiceError) as error:
            logger.warning("names of students could not be read again: %s", error)

    def refresh(self, *, at_most_every: float = 0.0) -> None:
        """Reads the names again if they have changed. Raises `SQLAlchemyError`; what was known stays."""
        if not self._lock.acquire(timeout=LOCK_SECONDS):
            raise ServiceError(503, "database-unavailable", "The database does not answer.", remedy="Try again in a few seconds.")
        try:
            if self.age >= at_most_every:
                self._compare()
        finally:
            self._lock.release()

    def start(self) -> None:
        """Compares memory with the database from now on, in a thread of its own; the first name that is asked for fills it."""
        self._stopping.clear()
        self._thread = threading.Thread(target=self._watch, name="resolver", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._stopping.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None

    def _watch(self) -> None:
        away = False
        while not self._stopping.wait(self._refresh_seconds):
            try:
                self.refresh()
                away = False
            except (SQLAlchemyError, ServiceError) as error:
                if not away:
                    logger.warning("names of students are served from memory: %s", error)
                away = True

    def _compare(self) -> None:
        now = time.monotonic()
        with read_session_factory()() as session:
            fingerprint = _fingerprint(session)
            if fingerprint != self._snapshot.fingerprint or now - self._read > FULL_SECONDS:
                known = _read(session)
                before = self._snapshot.known
                self._warm({before[name].key: served.key for name, served in known.items() if name in before and before[name] != served})
                self._snapshot = _Snapshot(fingerprint, known, {})
                self._read = now
        self._checked = time.monotonic()


def _plain(reference: str) -> str:
    """`name:007` means `name:7`."""
    name, colon, number = reference.partition(":")
    return f"{name}:{int(number)}" if colon and number.isascii() and number.isdecimal() and len(number) < 10 else reference


def _fingerprint(session: Session) -> tuple[object, ...]:
    """Cheap to read, and different after any publication, deletion or move of an alias.

    Counts as well as the highest: transactions may commit in another order than they began. SQLite may give an id a second time.
    """
    newest = select(Student.created_at).order_by(Student.id.desc()).limit(1).scalar_subquery()
    students = select(func.count()).select_from(Student).scalar_subquery()
    highest = select(func.max(Student.id)).scalar_subquery()
    aliases = select(func.count()).select_from(Alias).scalar_subquery()
    moved = select(func.max(Alias.updated_at)).scalar_subquery()
    moves = select(func.count()).select_from(AliasMove).scalar_subquery()
    last_move = select(func.max(AliasMove.id)).scalar_subquery()
    return tuple(session.execute(select(newest, students, highest, aliases, moved, moves, last_move)).one())


def _read(session: Session) -> dict[str, Served]:
    """Every reference there is."""
    versions = {
        (name, version): Served(name, version, key)
        for name, version, key in session.execute(select(Student.name, Student.version, Student.artefact_key))
    }
    known = {f"{name}:{version}": served for (name, version), served in versions.items()}
    for name, alias, version in session.execute(select(Alias.name, Alias.alias, Alias.version)):
        if (found := versions.get((name, version))) is not None:
            known[f"{name}@{alias}"] = found
            if alias == LATEST:
                known[name] = found
    return known
