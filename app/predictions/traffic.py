"""Tells the database what this process has answered, for the drift report: in a thread of its own, no answer waits for it."""

import logging
import threading
from collections.abc import Callable
from datetime import date, datetime, timedelta
from uuid import uuid4

from sqlalchemy import delete
from sqlalchemy.exc import SQLAlchemyError

from app.database import transaction
from app.predictions.telemetry import Counts
from app.students.drift import KEPT_DAYS
from app.tables import Traffic, utcnow

logger = logging.getLogger(__name__)
EXCHANGE_SECONDS = 5.0

Key = tuple[str, int]
_NOTHING = Counts(0, {}, [], 0, 0)


class TrafficLog:
    """`counts()`: by name and version, since the start. Rows of this process hold a day's counts, and are written over as these rise.

    So telling twice does no harm, and what could not be told is in what is told next.
    """

    def __init__(self, counts: Callable[[], dict[Key, Counts]]) -> None:
        self._counts = counts
        self._process = uuid4().hex
        self._day = date.min
        self._before: dict[Key, Counts] = {}
        self._told: dict[Key, Counts] = {}
        self._since: dict[Key, datetime] = {}
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        self._away = False

    def start(self) -> None:
        self._stopping.clear()
        self._thread = threading.Thread(target=self._run, name="traffic", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """What was counted is told."""
        self._stopping.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None

    def tell(self, now: datetime) -> None:
        """Raises `SQLAlchemyError`; nothing is lost then. What was counted since the last time falls to the day of `now`."""
        found = {key: counts for key, counts in self._counts().items() if counts.texts != self._told.get(key, _NOTHING).texts}
        if not found:
            return
        new_day = now.date() != self._day
        before, since = (dict(self._told), {}) if new_day else (self._before, dict(self._since))
        with transaction() as session:
            for key, counts in found.items():
                name, version = key
                of_day = _less(counts, before.get(key, _NOTHING))
                row = Traffic(name=name, version=version, day=now.date(), process=self._process, since=since.setdefault(key, now))
                row.texts, row.labels, row.scores = of_day.texts, of_day.labels, of_day.scores
                row.pieces, row.unknown = of_day.pieces, of_day.unknown
                session.merge(row)
            if new_day:
                session.execute(delete(Traffic).where(Traffic.day < now.date() - timedelta(days=KEPT_DAYS)))
        self._day, self._before, self._since = now.date(), before, since
        self._told.update(found)

    def _run(self) -> None:
        stopping = False
        while not stopping:
            stopping = self._stopping.wait(EXCHANGE_SECONDS)
            try:
                self.tell(utcnow())
                self._away = False
            except SQLAlchemyError as error:
                if not self._away:
                    logger.warning("what was answered is counted in memory: %s", error)
                self._away = True


def _less(counts: Counts, before: Counts) -> Counts:
    return Counts(
        counts.texts - before.texts,
        {label: count - before.labels.get(label, 0) for label, count in counts.labels.items()},
        [count - earlier for count, earlier in zip(counts.scores, before.scores or [0] * len(counts.scores), strict=True)],
        counts.pieces - before.pieces,
        counts.unknown - before.unknown,
    )
