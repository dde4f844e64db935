"""Counters of what has ended, kept in memory and filled from the rows: a restart reads them all once, a scrape only what is new.

Not summed up by the database at each scrape, because jobs are resumed and deleted: a counter that falls looks like a restart to Prometheus.
"""

import threading
from datetime import UTC, datetime, timedelta

from prometheus_client import CollectorRegistry, Counter, Histogram
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from app.contracts.stages import StageStatus
from app.tables import Event, StageRun, utcnow

BUCKETS = (0.1, 0.5, 1, 5, 15, 30, 60, 120, 300, 600, 1800, 3600, 7200, 14400, 28800, 86400)
# Rows become visible when their transaction commits, not in the order of their ids or times: what is a little older is looked at again.
LATE_SECONDS = 600
LATE_EVENTS = 2000
ENDED = (StageStatus.SUCCEEDED, StageStatus.FAILED, StageStatus.CANCELLED)
_BATCH = 5000


class History:
    """Durations of stages, attempts that were tried again, and jobs that failed."""

    def __init__(self, registry: CollectorRegistry) -> None:
        labels = ("stage", "outcome")
        self.stages = Histogram(
            "gendistil_stage_seconds", "From a stage's start to its end, shards included.", labels, buckets=BUCKETS, registry=registry
        )
        self.shards = Histogram("gendistil_shard_seconds", "From a shard's start to its end.", labels, buckets=BUCKETS, registry=registry)
        labels = ("stage", "type")
        self.retries = Counter("gendistil_stage_retries", "Attempts that failed and were tried again.", labels, registry=registry)
        self.failures = Counter(
            "gendistil_job_failures", "Jobs that failed, by the stage and the type of error.", labels, registry=registry
        )
        self._lock = threading.Lock()
        self._ended = _Counted()
        self._events = _Counted()
        self._newest_event = 0

    def catch_up(self, session: Session) -> None:
        """Counts what was committed since the last call. Raises `SQLAlchemyError`."""
        with self._lock:
            self._count_stages(session)
            self._count_events(session)

    def _count_stages(self, session: Session) -> None:
        columns = (StageRun.id, StageRun.stage, StageRun.shard, StageRun.status, StageRun.reused, StageRun.started_at, StageRun.finished_at)
        ended = (StageRun.finished_at > self._ended.until, StageRun.started_at.is_not(None), StageRun.status.in_(ENDED))
        query = select(*columns).where(*ended).order_by(StageRun.finished_at)
        for run_id, stage, shard, status, reused, started, finished in session.execute(query).yield_per(_BATCH):
            if started and finished and self._ended.add(run_id, finished):
                outcome = "reused" if reused and status == StageStatus.SUCCEEDED else status
                seconds = max((finished - started).total_seconds(), 0.0)
                (self.shards if shard else self.stages).labels(stage, outcome).observe(seconds)
        self._ended.forget()

    def _count_events(self, session: Session) -> None:
        counters = {"stage_retried": self.retries, "job_failed": self.failures}
        newest = session.scalar(select(func.max(Event.id))) or 0
        # The primary key finds them. It may fall, once the newest job was deleted: SQLite then gives ids a second time.
        floor, self._newest_event = min(newest, self._newest_event) - LATE_EVENTS, newest
        wanted = (Event.id > floor, Event.created_at > self._events.until, Event.type.in_(counters))
        columns = (Event.id, Event.created_at, Event.type, Event.stage, Event.data)
        for event_id, created, kind, stage, data in session.execute(select(*columns).where(*wanted).order_by(Event.id)).yield_per(_BATCH):
            if self._events.add(event_id, created):
                counters[kind].labels(stage or "none", data.get("error", {}).get("type", "unknown")).inc()
        self._events.forget()


class _Counted:
    """Which rows have been counted; all those up to `until` have."""

    def __init__(self) -> None:
        self.until = datetime.min.replace(tzinfo=UTC)
        self._known: set[tuple[datetime, int]] = set()

    def add(self, row_id: int, moment: datetime) -> bool:
        """False if it was there."""
        if (moment, row_id) in self._known:
            return False
        self._known.add((moment, row_id))
        if len(self._known) % _BATCH == 0:  # the first reading is of all rows there are
            self.forget()
        return True

    def forget(self) -> None:
        """Moves `until` up behind the newest, and keeps no more than the rows after it."""
        if self._known:
            newest = min(max(self._known)[0], utcnow())  # the clock of another machine may be ahead
            self.until = max(self.until, newest - timedelta(seconds=LATE_SECONDS))
            self._known = {row for row in self._known if row[0] > self.until}
