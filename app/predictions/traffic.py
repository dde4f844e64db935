"""Tells the database what this process has answered, for the drift report: in a thread of its own, no answer waits for it."""

from collections.abc import Callable
from datetime import date, datetime, timedelta
from uuid import uuid4

from sqlalchemy import delete

from app.database import transaction
from app.ownership import every_project
from app.periodic import Periodic
from app.predictions.telemetry import Counts, Key
from app.students.drift import KEPT_DAYS
from app.tables import Traffic, utcnow

EXCHANGE_SECONDS = 5.0

_NOTHING = Counts(0, {}, [], 0, 0)


class TrafficLog:
    """`counts()`: since the start. Rows of this process hold a day's counts, and are written over as these rise.

    So telling twice does no harm, and what could not be told is in what is told next.
    """

    def __init__(self, counts: Callable[[], dict[Key, Counts]]) -> None:
        self._counts = counts
        self._process = uuid4().hex
        self._day = date.min
        self._before: dict[Key, Counts] = {}
        self._told: dict[Key, Counts] = {}
        self._since: dict[Key, datetime] = {}
        self._telling = Periodic(
            "traffic", lambda: self.tell(utcnow()), EXCHANGE_SECONDS, meanwhile="what was answered is counted in memory", at_end=True
        )

    def start(self) -> None:
        self._telling.start()

    def stop(self) -> None:
        """What was counted is told."""
        self._telling.stop()

    def tell(self, now: datetime) -> None:
        """Raises `SQLAlchemyError`; nothing is lost then. What was counted since the last time falls to the day of `now`."""
        found = {key: counts for key, counts in self._counts().items() if counts.texts != self._told.get(key, _NOTHING).texts}
        if not found:
            return
        new_day = now.date() != self._day
        before, since = (dict(self._told), {}) if new_day else (self._before, dict(self._since))
        with every_project(), transaction() as session:
            for key, counts in found.items():
                project, name, version = key
                of_day = _less(counts, before.get(key, _NOTHING))
                row = Traffic(project_id=project, name=name, version=version, day=now.date(), process=self._process)
                row.since = since.setdefault(key, now)
                row.texts, row.labels, row.scores = of_day.texts, of_day.labels, of_day.scores
                row.pieces, row.unknown = of_day.pieces, of_day.unknown
                session.merge(row)
            if new_day:
                session.execute(delete(Traffic).where(Traffic.day < now.date() - timedelta(days=KEPT_DAYS)))
        self._day, self._before, self._since = now.date(), before, since
        self._told.update(found)


def _less(counts: Counts, before: Counts) -> Counts:
    return Counts(
        counts.texts - before.texts,
        {label: count - before.labels.get(label, 0) for label, count in counts.labels.items()},
        [count - earlier for count, earlier in zip(counts.scores, before.scores or [0] * len(counts.scores), strict=True)],
        counts.pieces - before.pieces,
        counts.unknown - before.unknown,
    )
