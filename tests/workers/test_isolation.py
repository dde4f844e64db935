"""Stages in processes of their own: what becomes of them when the process, the job or the worker ends."""

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from app.config import Settings, get_settings
from app.contracts.stages import JobStatus, StageStatus
from app.database import transaction
from app.datasets.raw import RawRow
from app.datasets.service import create_dataset
from app.jobs.lifecycle import claim
from app.jobs.service import cancel, create_job, get_job
from app.storage import get_storage
from app.tables import Event, Job, StageRun
from tests.workers.tiny import make_rows, tiny_spec
from workers.recorder import DatabaseRecorder, StageCancelled
from workers.runner import run_stage_run
from workers.stopping import shutting_down

LONG = {"epochs": 198, "refit_epochs": 2}


@pytest.fixture
def worker(service_env: Settings, clean_settings: pytest.MonkeyPatch) -> Iterator[Settings]:
    for name, value in {
        "HEARTBEAT_SECONDS": "0.05",
        "RETRY_SECONDS": "60",
        "THREADS": "1",
        "CANCEL_SECONDS": "1",
        "GRACE_SECONDS": "10",
    }.items():
        clean_settings.setenv(f"GENDISTIL_WORKER__{name}", value)
    get_settings.cache_clear()
    yield get_settings()
    shutting_down.clear()


@pytest.fixture
def teacher_run(worker: Settings, teacher_model: Path, generator_model: Path) -> Callable[..., tuple[str, int]]:
    """A job whose teacher takes long: its id, and that of the teacher's run."""

    def create(**teacher: Any) -> tuple[str, int]:
        rows = [RawRow(number, row.text, row.label) for number, row in enumerate(make_rows(20), 1)]
        with transaction() as session:
            dataset = create_dataset(session, rows, [], limits=worker.limits, storage=get_storage())
            spec = tiny_spec(teacher_model, generator_model, teacher={**LONG, **teacher})
            job = create_job(session, name="triage", dataset=dataset, preset="fast", spec=spec, replace_dataset=False)
            return job.id, job.stages[0].id

    return create


def read(job_id: str) -> tuple[Job, StageRun]:
    with transaction() as session:
        job = get_job(session, job_id)
        return job, job.stages[0]


def events(job_id: str) -> list[str]:
    with transaction() as session:
        return list(session.scalars(select(Event.type).where(Event.job_id == job_id).order_by(Event.id)))


def in_thread(run_id: int) -> threading.Thread:
    thread = threading.Thread(target=run_stage_run, args=(run_id,))
    thread.start()
    return thread


def wait_until(condition: Callable[[], Any], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)


def stage_processes() -> list[int]:
    """Processes that the forkserver of this test run has forked."""
    parents = {}
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError, ValueError):  # it has ended
            parents[int(folder.name)] = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
    # A process, the server that forked it, and this one.
    return [process for process, parent in parents.items() if parents.get(parent) == os.getpid() and _is_server(parent)]


def _is_server(process: int) -> bool:
    try:
        return b"forkserver" in Path(f"/proc/{process}/cmdline").read_bytes()
    except OSError:
        return False


def scratch(settings: Settings) -> list[Path]:
    return list((settings.data_dir.resolve() / "work").iterdir())


def test_a_stage_ends_in_its_row_and_its_process_ends(worker: Settings, teacher_run: Callable[..., tuple[str, int]]) -> None:
    job_id, run_id = teacher_run(epochs=2, refit_epochs=1)
    run_stage_run(run_id)
    _, run = read(job_id)
    assert (run.status, run.attempt, run.error) == (StageStatus.SUCCEEDED, 1, None)
    assert run.peak_bytes is not None
    assert 50e6 < run.peak_bytes < 5e9
    assert "epoch" in events(job_id)
    assert scratch(worker) == []
    assert stage_processes() == []


def test_a_stage_whose_process_is_killed_is_tried_again(teacher_run: Callable[..., tuple[str, int]]) -> None:
    job_id, run_id = teacher_run()
    thread = in_thread(run_id)
    wait_until(lambda: read(job_id)[1].progress_done > 0)
    [stage] = stage_processes()
    os.kill(stage, signal.SIGKILL)
    thread.join(10)
    assert not thread.is_alive()
    job, run = read(job_id)
    assert job.status == JobStatus.RUNNING
    assert (run.status, run.attempt, run.shrink) == (StageStatus.QUEUED, 1, 1)
    assert run.not_before is not None
    assert run.error is not None
    assert run.error["type"] == "worker-lost"
    assert "SIGKILL" in run.error["detail"]
    assert "stage_retried" in events(job_id)


def test_a_worker_that_is_told_to_stop_has_its_stage_given_back(worker: Settings, teacher_run: Callable[..., tuple[str, int]]) -> None:
    job_id, run_id = teacher_run()
    thread = in_thread(run_id)
    wait_until(lambda: read(job_id)[1].progress_done > 0)
    shutting_down.set()
    thread.join(20)
    assert not thread.is_alive()
    _, run = read(job_id)
    assert (run.status, run.attempt, run.error) == (StageStatus.QUEUED, 0, None)
    assert "stage_released" in events(job_id)
    assert scratch(worker) == []
    shutting_down.clear()
    assert stage_processes() == []


def test_a_cancelled_stage_ends_within_seconds(worker: Settings, teacher_run: Callable[..., tuple[str, int]]) -> None:
    job_id, run_id = teacher_run()
    thread = in_thread(run_id)
    wait_until(lambda: read(job_id)[1].progress_done > 0)
    asked = time.monotonic()
    with transaction() as session:
        cancel(session, job_id)
    thread.join(10)
    assert not thread.is_alive()
    assert time.monotonic() - asked < 5
    job, run = read(job_id)
    assert (job.status, run.status) == (JobStatus.CANCELLED, StageStatus.CANCELLED)
    assert job.finished_at is not None
    assert scratch(worker) == []


def test_a_cancelled_stage_that_comes_to_no_safe_point_is_noticed(worker: Settings, teacher_run: Callable[..., tuple[str, int]]) -> None:
    job_id, run_id = teacher_run()
    with transaction() as session:
        assert claim(session, run_id, "worker-1") is not None
    stuck = threading.Event()
    with DatabaseRecorder(job_id, run_id, 1, "finetune_teacher", "epochs", worker.worker, on_stuck=stuck.set) as recorder:
        recorder.progress(1, 2)
        time.sleep(0.3)
        assert not stuck.is_set()
        with transaction() as session:
            cancel(session, job_id)
        assert stuck.wait(worker.worker.cancel_seconds + 5)  # the stage never asks
        with pytest.raises(StageCancelled):
            recorder.check()
