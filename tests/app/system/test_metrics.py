"""The figures of /metrics, read as Prometheus reads them, from rows on SQLite and PostgreSQL."""

import itertools
import math
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families
from sqlalchemy import delete, event, update
from sqlalchemy.orm import Session, sessionmaker

from app.contracts.spec import JobSpec
from app.contracts.stages import Stage, StageStatus
from app.database import make_engine
from app.jobs import lifecycle
from app.jobs.service import create_job
from app.storage import get_storage
from app.system.history import LATE_EVENTS, LATE_SECONDS
from app.system.metrics import Metrics
from app.system.snapshot import MAX_WORKERS
from app.tables import Dataset, Event, Job, StageRun, utcnow
from tests.servers import free_port

Sessions = sessionmaker[Session]
Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]
AddRun = Callable[..., int]


@pytest.fixture
def sessions(clean_settings: pytest.MonkeyPatch, tmp_path: Path, migrated_database_url: str) -> Iterator[Sessions]:
    """Both databases in turn, with one job without stages; the store lies in a temporary folder."""
    clean_settings.setenv("GENDISTIL_DATA_DIR", str(tmp_path / "data"))
    engine = make_engine(migrated_database_url)
    made = sessionmaker(engine, expire_on_commit=False)
    with made.begin() as session:
        session.add(Dataset(id="ds_1", content_hash="h", rows=20, test_rows=0, label_counts={"a": 20}, mean_chars=40.0, warnings=[]))
        session.flush()
        session.add(Job(id="job_1", name="triage", dataset_id="ds_1", preset="fast", spec={}, status="running", warnings=[]))
    yield made
    engine.dispose()


@pytest.fixture
def add_run(sessions: Sessions) -> AddRun:
    """Stores a shard of `generate` unless told otherwise, each with a number of its own."""
    numbers = itertools.count(1)

    def add(status: StageStatus, stage: Stage = Stage.GENERATE, **values: Any) -> int:
        with sessions.begin() as session:
            run = StageRun(job_id="job_1", stage=stage, status=status, unit="texts", **{"shard": next(numbers), **values})
            session.add(run)
            session.flush()
            return run.id

    return add


def scrape(metrics: Metrics, sessions: Sessions) -> Samples:
    with sessions() as session:
        text = metrics.render(session, get_storage()).decode()
    found = {}
    for family in text_string_to_metric_families(text):
        assert family.documentation
        assert family.type in {"counter", "gauge", "histogram"}
        for sample in family.samples:
            key = (sample.name, frozenset(sample.labels.items()))
            assert key not in found
            found[key] = sample.value
    return found


def value(samples: Samples, name: str, **labels: str) -> float:
    """Not a number if there is no such sample, which equals nothing."""
    return samples.get((name, frozenset(labels.items())), math.nan)


def since(moment: datetime) -> float:
    return (utcnow() - moment).total_seconds()


def series(samples: Samples, name: str) -> dict[frozenset[tuple[str, str]], float]:
    return {labels: found for (known, labels), found in samples.items() if known == name}


def test_build_and_store(sessions: Sessions) -> None:
    samples = scrape(Metrics(), sessions)
    (labels,) = series(samples, "gendistil_build_info")
    assert dict(labels)["version"] == version("gendistil")
    assert value(samples, "gendistil_store_free_bytes") > 1_000_000
    assert value(samples, "gendistil_database_up") == 1


def test_how_many_wait_and_how_long(sessions: Sessions, add_run: AddRun) -> None:
    metrics = Metrics()
    before = scrape(metrics, sessions)
    assert value(before, "gendistil_queue_depth", queue="gpu") == value(before, "gendistil_queue_oldest_seconds", queue="gpu") == 0
    now = utcnow()
    for seconds in (30, 90, 60):
        add_run(StageStatus.QUEUED, queued_at=now - timedelta(seconds=seconds))
    add_run(StageStatus.QUEUED, Stage.LABEL, queued_at=utcnow() - timedelta(seconds=10))
    add_run(StageStatus.QUEUED, Stage.PUBLISH, queued_at=now + timedelta(hours=1))  # by a clock that is ahead
    add_run(StageStatus.RUNNING, queued_at=utcnow() - timedelta(hours=1))
    after = scrape(metrics, sessions)
    assert value(after, "gendistil_queue_depth", queue="gpu") == 4
    assert 90 <= value(after, "gendistil_queue_oldest_seconds", queue="gpu") <= 90 + since(now)
    assert value(after, "gendistil_queue_depth", queue="cpu") == 1
    assert value(after, "gendistil_queue_oldest_seconds", queue="cpu") == 0
    assert value(after, "gendistil_stage_runs", stage="generate", status="queued") == 3
    assert value(after, "gendistil_stage_runs", stage="generate", status="running") == 1
    assert value(after, "gendistil_stage_runs", stage="distil", status="pending") == 0
    assert value(after, "gendistil_jobs", status="running") == 1


def test_who_has_been_silent(sessions: Sessions, add_run: AddRun) -> None:
    metrics = Metrics()
    assert value(scrape(metrics, sessions), "gendistil_oldest_heartbeat_seconds") == 0
    now = utcnow()
    add_run(StageStatus.RUNNING, worker="a:1", heartbeat_at=now - timedelta(seconds=100))
    add_run(StageStatus.RUNNING, worker="b:1", heartbeat_at=now)
    add_run(StageStatus.SUCCEEDED, worker="c:1", heartbeat_at=utcnow() - timedelta(hours=1))
    samples = scrape(metrics, sessions)
    by_worker = {dict(labels)["worker"]: age for labels, age in series(samples, "gendistil_worker_heartbeat_seconds").items()}
    assert set(by_worker) == {"a:1", "b:1"}
    assert by_worker["a:1"] == value(samples, "gendistil_oldest_heartbeat_seconds")
    assert 100 <= by_worker["a:1"] <= 100 + since(now)
    assert 0 <= by_worker["b:1"] <= since(now)

    for number in range(MAX_WORKERS):
        add_run(StageStatus.RUNNING, worker=f"d:{number}", heartbeat_at=utcnow())
    samples = scrape(metrics, sessions)
    workers = {dict(labels)["worker"] for labels in series(samples, "gendistil_worker_heartbeat_seconds")}
    assert len(workers) == MAX_WORKERS
    assert "a:1" in workers


def ended(seconds: float, ago: float = 0.0, **values: Any) -> dict[str, Any]:
    """Columns of a stage that took so long and ended so long ago."""
    finished = utcnow() - timedelta(seconds=ago)
    return {"started_at": finished - timedelta(seconds=seconds), "finished_at": finished, **values}


def count_of(samples: Samples, stage: str, outcome: str, name: str = "gendistil_shard_seconds") -> float:
    return value(samples, f"{name}_count", stage=stage, outcome=outcome)


def test_durations_by_stage_and_outcome_survive_a_restart(sessions: Sessions, add_run: AddRun) -> None:
    add_run(StageStatus.SUCCEEDED, Stage.DISTIL, shard=0, **ended(40))
    add_run(StageStatus.SUCCEEDED, Stage.LABEL, shard=0, **ended(0.2, reused=True))
    add_run(StageStatus.FAILED, **ended(7, ago=100_000))
    add_run(StageStatus.SUCCEEDED, **ended(2, ago=200_000))
    add_run(StageStatus.SUCCEEDED, **ended(3))
    add_run(StageStatus.CANCELLED, finished_at=utcnow())  # it never began
    add_run(StageStatus.PENDING, **ended(1))  # to be made again
    add_run(StageStatus.RUNNING, started_at=utcnow())
    metrics = Metrics()
    for samples in (scrape(metrics, sessions), scrape(metrics, sessions), scrape(Metrics(), sessions)):
        whole = {
            (dict(labels)["stage"], dict(labels)["outcome"]): n for labels, n in series(samples, "gendistil_stage_seconds_count").items()
        }
        shards = {
            (dict(labels)["stage"], dict(labels)["outcome"]): n for labels, n in series(samples, "gendistil_shard_seconds_count").items()
        }
        assert whole == {("distil", "succeeded"): 1, ("label", "reused"): 1}
        assert shards == {("generate", "failed"): 1, ("generate", "succeeded"): 2}
        assert value(samples, "gendistil_shard_seconds_sum", stage="generate", outcome="succeeded") == pytest.approx(5)
        buckets = [value(samples, "gendistil_stage_seconds_bucket", stage="distil", outcome="succeeded", le=le) for le in ("30.0", "60.0")]
        assert buckets == [0, 1]


def test_durations_are_counted_once_however_late_and_never_fall(sessions: Sessions, add_run: AddRun) -> None:
    metrics = Metrics()
    first = add_run(StageStatus.SUCCEEDED, **ended(1))
    assert count_of(scrape(metrics, sessions), "generate", "succeeded") == 1
    add_run(StageStatus.SUCCEEDED, **ended(1, ago=LATE_SECONDS / 2))  # committed late
    assert count_of(scrape(metrics, sessions), "generate", "succeeded") == 2
    add_run(StageStatus.SUCCEEDED, **ended(1, ago=-86_400))  # by a clock that is a day ahead
    add_run(StageStatus.SUCCEEDED, **ended(1, ago=-1))
    assert count_of(scrape(metrics, sessions), "generate", "succeeded") == 4
    with sessions.begin() as session:  # resumed, and ended again
        session.execute(update(StageRun).where(StageRun.id == first).values(finished_at=utcnow() + timedelta(seconds=5)))
    assert count_of(scrape(metrics, sessions), "generate", "succeeded") == 5
    with sessions.begin() as session:
        session.execute(delete(StageRun))
    assert count_of(scrape(metrics, sessions), "generate", "succeeded") == 5


def test_retries_and_failures_by_type(sessions: Sessions) -> None:
    def run(job_id: str, attempt: int, kind: str, max_attempts: int) -> None:
        with sessions.begin() as session:
            run_id = session.query(StageRun.id).filter_by(job_id=job_id, stage=Stage.FINETUNE_TEACHER).scalar()
            assert lifecycle.claim(session, run_id, "worker-1")
            error = {"type": kind, "detail": "d", "remedy": "r"}
            assert lifecycle.fail_stage(session, run_id, attempt, error, retry=True, max_attempts=max_attempts)

    with sessions.begin() as session:
        dataset = session.get_one(Dataset, "ds_1")
        job_id = create_job(session, name="a", dataset=dataset, preset="fast", spec=JobSpec(), replace_dataset=False).id
    metrics = Metrics()
    assert not series(scrape(metrics, sessions), "gendistil_stage_retries_total")
    run(job_id, 1, "worker-lost", 3)
    run(job_id, 2, "out-of-memory", 3)
    assert value(scrape(metrics, sessions), "gendistil_stage_retries_total", stage="finetune_teacher", type="worker-lost") == 1
    run(job_id, 3, "out-of-memory", 3)
    for samples in (scrape(metrics, sessions), scrape(metrics, sessions), scrape(Metrics(), sessions)):
        retries = {dict(labels)["type"]: n for labels, n in series(samples, "gendistil_stage_retries_total").items()}
        assert retries == {"worker-lost": 1, "out-of-memory": 1}
        assert value(samples, "gendistil_job_failures_total", stage="finetune_teacher", type="out-of-memory") == 1


def test_events_whose_ids_are_given_a_second_time_are_counted(sessions: Sessions) -> None:
    def fail(event_id: int) -> None:
        with sessions.begin() as session:
            data = {"error": {"type": "disk-full"}}
            session.add(Event(id=event_id, job_id="job_1", type="job_failed", stage="label", message="", data=data))

    metrics = Metrics()
    fail(1)
    fail(LATE_EVENTS * 3)
    assert value(scrape(metrics, sessions), "gendistil_job_failures_total", stage="label", type="disk-full") == 2
    with sessions.begin() as session:
        session.execute(delete(Event))
    fail(2)
    fail(1)
    assert value(scrape(metrics, sessions), "gendistil_job_failures_total", stage="label", type="disk-full") == 4


def test_a_scrape_is_a_few_queries_however_much_there_is(sessions: Sessions, add_run: AddRun) -> None:
    statements: list[str] = []
    metrics = Metrics()
    with sessions() as session:
        event.listen(session.get_bind(), "before_cursor_execute", lambda *given: statements.append(given[2]))
    for _ in range(3):
        for status in StageStatus:
            add_run(status, **ended(1))
        statements.clear()
        scrape(metrics, sessions)
        assert len([statement for statement in statements if statement.startswith("SELECT")]) <= 9


def test_without_a_database_the_rest_is_told(sessions: Sessions) -> None:
    metrics = Metrics()
    metrics.requests.labels("GET", "/jobs", 200).inc()
    engine = make_engine(f"postgresql+psycopg://user:secret@127.0.0.1:{free_port()}/none")
    samples = scrape(metrics, sessionmaker(engine))
    assert value(samples, "gendistil_database_up") == 0
    assert value(samples, "gendistil_http_requests_total", method="GET", route="/jobs", status="200") == 1
    assert value(samples, "gendistil_store_free_bytes") > 0
    assert not series(samples, "gendistil_queue_depth")
