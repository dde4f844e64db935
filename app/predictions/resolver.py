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
from app.errors import ServiceError, database_unavailable, not_found
from app.jobs.aliases import LATEST
from app.ownership import current_project, every_project
from app.periodic import Periodic
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
    project: str


Names = dict[str, dict[str, Served]]
"""By project, then by reference."""
_NONE: dict[str, Served] = {}


@dataclass(frozen=True, slots=True)
class _Snapshot:
    """All that can be asked for, as it stood in the database; `refusals` is what has been asked for in vain since."""

    fingerprint: tuple[object, ...]
    known: Names
    refusals: dict[tuple[str, str], ServiceError]


class Resolver:
    """Safe to share between threads; a name means what it does in the project at hand.

    `warm` is called with the keys that a name newly means, before anyone is sent there.
    """

    def __init__(self, refresh_seconds: float, warm: Callable[[dict[str, str]], None] = lambda _moved: None) -> None:
        self._warm = warm
        self._snapshot = _Snapshot((), {}, {})
        self._lock = threading.Lock()
        self._checked = self._read = float("-inf")
        self._watch = Periodic("resolver", self.refresh, refresh_seconds, meanwhile="names of students are served from memory")

    @property
    def age(self) -> float:
        """Seconds since memory was last compared with the database."""
        return time.monotonic() - self._checked

    def find(self, reference: str) -> Served | None:
        """From memory alone; None where `look_up` has to be asked: also while nothing compares memory with the database."""
        return self._snapshot.known.get(current_project(), _NONE).get(reference) if self._watch.running else None

    def look_up(self, reference: str) -> Served:
        """What `find` does not know. Raises `ServiceError` as `find_student` does, and `SQLAlchemyError` if the database is away."""
        self.refresh(at_most_every=MISS_SECONDS)
        snapshot, project = self._snapshot, current_project()
        if (served := snapshot.known.get(project, _NONE).get(_plain(reference))) is not None:
            return served
        if (refusal := snapshot.refusals.get((project, reference))) is None:
            parse_reference(reference)
            if len(snapshot.refusals) >= MAX_REFUSALS:  # someone tries one name after the other
                raise not_found("student", reference, "GET /students lists the published ones.")
            try:
                with read_session_factory()() as session:
                    found = find_student(session, reference)
                return Served(found.name, found.version, found.artefact_key, project)  # published a moment ago
            except ServiceError as error:
                refusal = snapshot.refusals[project, reference] = error
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
            raise database_unavailable()
        try:
            if self.age >= at_most_every:
                self._compare()
        finally:
            self._lock.release()

    def start(self) -> None:
        """Compares memory with the database from now on, in a thread of its own; the first name that is asked for fills it."""
        self._watch.start()

    def stop(self) -> None:
        self._watch.stop()

    def _compare(self) -> None:
        now = time.monotonic()
        with every_project(), read_session_factory()() as session:
            fingerprint = _fingerprint(session)
            if fingerprint != self._snapshot.fingerprint or now - self._read > FULL_SECONDS:
                known = _read(session)
                self._warm(_moved(self._snapshot.known, known))
                self._snapshot = _Snapshot(fingerprint, known, {})
                self._read = now
        self._checked = time.monotonic()


def _moved(before: Names, known: Names) -> dict[str, str]:
    """From the artefact that a name meant to the one that it means now."""
    found = {}
    for project, names in known.items():
        earlier = before.get(project, _NONE)
        found.update({earlier[name].key: served.key for name, served in names.items() if name in earlier and earlier[name] != served})
    return found


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


def _read(session: Session) -> Names:
    """Every reference there is."""
    known: Names = {}
    for project, name, version, key in session.execute(select(Student.project_id, Student.name, Student.version, Student.artefact_key)):
        known.setdefault(project, {})[f"{name}:{version}"] = Served(name, version, key, project)
    for project, name, alias, version in session.execute(select(Alias.project_id, Alias.name, Alias.alias, Alias.version)):
        names = known.get(project, {})
        if (found := names.get(f"{name}:{version}")) is not None:
            names[f"{name}@{alias}"] = found
            if alias == LATEST:
                names[name] = found
    return known
