"""What stands in the database and the store at the moment of a scrape."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from datetime import datetime

from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from app.contracts.bulk import BULK_QUEUE, BulkStatus
from app.contracts.stages import GRAPH, JobStatus, Stage, StageStatus
from app.queue import queue_of
from app.storage import BlobStore
from app.system.webhooks import webhook_families
from app.tables import BulkPrediction, Job, StageRun, utcnow

MAX_WORKERS = 100
"""Series of workers: those that have been silent longest."""

OPEN = (StageStatus.PENDING, StageStatus.QUEUED, StageStatus.RUNNING, StageStatus.SHARDED)

Families = Sequence[Metric]


class Snapshot(Collector):
    """Families that were read before."""

    def __init__(self, families: Families) -> None:
        self.families = families

    def collect(self) -> Iterator[Metric]:
        yield from self.families


def reachability(up: bool) -> Metric:
    return GaugeMetricFamily("gendistil_database_up", "Whether the database answered this scrape.", float(up))


def store_families(storage: BlobStore) -> Families:
    """Nothing for a store that knows no limit, as S3, or cannot tell at the moment."""
    try:
        free = storage.free_bytes()
    except OSError:
        return []
    return [] if free is None else [GaugeMetricFamily("gendistil_store_free_bytes", "Bytes that the blob store has left.", free)]


def database_families(session: Session) -> Families:
    """Six queries. Raises `SQLAlchemyError`."""
    now = utcnow()
    bulk, waiting, age = _bulk(session, now)
    return [_jobs(session), bulk, *_stage_runs(session, now, waiting, age), *_heartbeats(session, now), *webhook_families(session, now)]


def _jobs(session: Session) -> Metric:
    jobs = GaugeMetricFamily("gendistil_jobs", "Jobs by status.", labels=["status"])
    rows = session.execute(select(Job.status, func.count()).group_by(Job.status))
    counts = dict(row for row in rows)
    for status in JobStatus:
        jobs.add_metric([status], counts.get(status, 0))
    return jobs


def _bulk(session: Session, now: datetime) -> tuple[Metric, int, float]:
    """And how many wait for a worker, and for how many seconds the first of them has."""
    bulk = GaugeMetricFamily("gendistil_bulk_predictions", "Bulk predictions by status.", labels=["status"])
    figures = select(BulkPrediction.status, func.count(), func.min(BulkPrediction.queued_at)).group_by(BulkPrediction.status)
    found = {status: (count, first_queued) for status, count, first_queued in session.execute(figures)}
    for status in BulkStatus:
        bulk.add_metric([status], found.get(status, (0, None))[0])
    waiting, first_queued = found.get(BulkStatus.QUEUED, (0, None))
    return bulk, waiting, _age(first_queued, now) if waiting else 0.0


def _stage_runs(session: Session, now: datetime, bulk_waiting: int, bulk_age: float) -> Families:
    runs = GaugeMetricFamily(
        "gendistil_stage_runs", "Stages and shards that have not ended, by stage and status.", labels=["stage", "status"]
    )
    depth = GaugeMetricFamily("gendistil_queue_depth", "Stages, shards and bulk predictions that wait for a worker.", labels=["queue"])
    oldest = GaugeMetricFamily(
        "gendistil_queue_oldest_seconds", "How long the longest has waited in the queue; 0 if none does.", labels=["queue"]
    )
    # Those that have ended are many, and in `history`.
    figures = select(StageRun.stage, StageRun.status, func.count(), func.min(StageRun.queued_at)).where(StageRun.status.in_(OPEN))
    counts: dict[tuple[str, str], int] = {}
    depths: dict[str, int] = defaultdict(int, {BULK_QUEUE: bulk_waiting})
    ages: dict[str, float] = defaultdict(float, {BULK_QUEUE: bulk_age})
    for stage, status, count, first_queued in session.execute(figures.group_by(StageRun.stage, StageRun.status)):
        counts[stage, status] = count
        if status == StageStatus.QUEUED:
            queue = queue_of(Stage(stage))
            depths[queue] += count
            ages[queue] = max(ages[queue], _age(first_queued, now))
    for known in Stage:
        for status in OPEN:
            runs.add_metric([known, status], counts.get((known, status), 0))
    for queue in sorted({BULK_QUEUE, *(queue_of(stage) for stage in GRAPH)}):
        depth.add_metric([queue], depths[queue])
        oldest.add_metric([queue], ages[queue])
    return [runs, depth, oldest]


def _heartbeats(session: Session, now: datetime) -> Families:
    worst = GaugeMetricFamily(
        "gendistil_oldest_heartbeat_seconds", "Silence of the running stage that was heard of longest ago; 0 if none runs."
    )
    by_worker = GaugeMetricFamily("gendistil_worker_heartbeat_seconds", "Silence of a worker that runs a stage.", labels=["worker"])
    beat = func.min(StageRun.heartbeat_at)
    running = select(StageRun.worker, beat).where(StageRun.status == StageStatus.RUNNING).group_by(StageRun.worker)
    ages = [(worker or "unknown", _age(beaten, now)) for worker, beaten in session.execute(running.order_by(beat).limit(MAX_WORKERS))]
    worst.add_metric([], max((age for _, age in ages), default=0.0))
    for worker, age in ages:
        by_worker.add_metric([worker], age)
    return [worst, by_worker]


def _age(moment: datetime | None, now: datetime) -> float:
    """Seconds; never below 0, whatever the clocks of other machines say."""
    return max((now - moment).total_seconds(), 0.0) if moment else 0.0
