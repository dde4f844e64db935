"""The chaos suite at its smallest; `make chaos` runs it at full size."""

import signal
from pathlib import Path

import pytest

from app.contracts.stages import Stage
from tests.chaos.agreement import transfer_set
from tests.chaos.cluster import Cluster, Json, cluster
from tests.chaos.history import events_of
from tests.chaos.report import ChaosReport, carry_out
from tests.chaos.work import Workload
from tests.e2e.service import ok, stage_of, succeeded

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(1200)]
FAULTS = 11


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> ChaosReport:
    found = carry_out(tmp_path_factory.mktemp("chaos"), jobs=2, max_jobs=3, faults=FAULTS, seed=0, seconds=900)
    print(found.as_text())
    return found


def test_jobs_survive_faults_of_every_kind(report: ChaosReport) -> None:
    assert report.violations == []
    assert report.faults >= FAULTS - 2  # the last may have found nothing to strike any more
    assert len(report.injected) >= 8


def test_a_killed_worker_costs_the_last_interval_and_changes_nothing(report: ChaosReport, tmp_path: Path) -> None:
    """One worker makes what two made under faults; it is killed when its distillation is nearly done."""
    with cluster(tmp_path, workers=1, settings={"GENDISTIL_WORKER__CHECKPOINT_SECONDS": "0.1"}) as service:
        body = Workload(tmp_path).body(0, distil={"student": "bag", "epochs": 30, "min_steps": 800, "refit_epochs": 8})
        job_id = ok(service.call("POST", "/jobs", json=body), 202)["id"]
        service.follow(job_id, lambda job: _progress(job) >= 0.9, every=0.02)
        (worker,) = service.workers
        worker.signal(signal.SIGKILL)
        job = service.follow(job_id, succeeded)

        assert stage_of(job, Stage.DISTIL)["attempt"] > 1
        attempts = _epochs_by_attempt(service, job_id)
        every = set().union(*attempts)
        assert len(attempts[0]) > 0.8 * len(every)
        assert sum(map(len, attempts)) - len(every) < 0.2 * len(every)  # done twice: the last interval, and not nine tenths
        assert transfer_set(service, job_id) == report.transfer_set


def _progress(job: Json) -> float:
    progress: Json = stage_of(job, Stage.DISTIL)["progress"]
    return float(progress["done"] / progress["total"]) if progress["total"] else 0.0


def _epochs_by_attempt(service: Cluster, job_id: str) -> list[list[tuple[str, int]]]:
    """Run and number of each epoch that an attempt at the distillation went through."""
    attempts: list[list[tuple[str, int]]] = []
    for event in events_of(service)[job_id]:
        if event["stage"] == Stage.DISTIL and event["type"] == "stage_started":
            attempts.append([])
        elif event["stage"] == Stage.DISTIL and event["type"] == "metric":
            attempts[-1].append((event["data"]["run"], event["data"]["step"]))
    return [epochs for epochs in attempts if epochs]  # an attempt may be lost before it has begun
