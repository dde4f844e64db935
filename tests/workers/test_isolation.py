"""Stages in processes of their own: what becomes of them when the process, the job or the worker ends."""

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from app.config import Settings, get_settings
from app.contracts.stages import JobStatus, Stage, StageStatus
from app.database import transaction
from app.jobs.lifecycle import claim
from app.jobs.service import cancel
from tests.workers.conftest import Submit
from tests.workers.jobs import LONG, LONG_EPOCHS, ends, events, read, run_of, run_stage, scratch, start_teacher
from workers.recorder import DatabaseRecorder, StageCancelled
from workers.stopping import shutting_down


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


def test_a_stage_ends_in_its_row_and_its_process_ends(worker: Settings, submit: Submit) -> None:
    job_id = submit()
    run = run_stage(job_id, Stage.FINETUNE_TEACHER)
    assert (run.status, run.attempt, run.error) == (StageStatus.SUCCEEDED, 1, None)
    assert run.peak_bytes is not None
    assert 50e6 < run.peak_bytes < 5e9
    assert "metric" in events(job_id)
    assert scratch(worker) == []
    assert stage_processes() == []


def test_a_stage_whose_process_is_killed_is_tried_again(worker: Settings, submit: Submit) -> None:
    job_id = submit(teacher=LONG)
    thread = start_teacher(job_id)
    [stage] = stage_processes()
    os.kill(stage, signal.SIGKILL)
    assert ends(thread)
    job, run = read(job_id), run_of(job_id, Stage.FINETUNE_TEACHER)
    assert job.status == JobStatus.RUNNING
    assert (run.status, run.attempt, run.shrink) == (StageStatus.QUEUED, 1, 1)
    assert run.not_before is not None
    assert run.error is not None
    assert run.error["type"] == "worker-lost"
    assert "SIGKILL" in run.error["detail"]
    assert "stage_retried" in events(job_id)


def test_a_worker_that_is_told_to_stop_has_its_stage_given_back(worker: Settings, submit: Submit) -> None:
    job_id = submit(teacher=LONG)
    thread = start_teacher(job_id)
    shutting_down.set()
    assert ends(thread)
    run = run_of(job_id, Stage.FINETUNE_TEACHER)
    assert (run.status, run.attempt, run.error) == (StageStatus.QUEUED, 0, None)
    assert "stage_released" in events(job_id)
    assert scratch(worker) == []
    shutting_down.clear()
    assert stage_processes() == []


def test_a_cancelled_stage_ends_before_it_is_done(worker: Settings, submit: Submit) -> None:
    job_id = submit(teacher=LONG)
    thread = start_teacher(job_id)
    with transaction() as session:
        cancel(session, job_id)
    assert ends(thread)
    job, run = read(job_id), run_of(job_id, Stage.FINETUNE_TEACHER)
    assert (job.status, run.status) == (JobStatus.CANCELLED, StageStatus.CANCELLED)
    assert run.progress_done < LONG_EPOCHS
    assert job.finished_at is not None
    assert scratch(worker) == []


def test_a_cancelled_stage_that_comes_to_no_safe_point_is_noticed(worker: Settings, submit: Submit) -> None:
    job_id = submit(teacher=LONG)
    run_id = run_of(job_id, Stage.FINETUNE_TEACHER).id
    with transaction() as session:
        assert claim(session, run_id, "worker-1") is not None
    stuck = threading.Event()
    with DatabaseRecorder(job_id, run_id, 1, "finetune_teacher", "epochs", worker.worker, on_stuck=stuck.set) as recorder:
        recorder.progress(1, 2)
        assert not stuck.wait(worker.worker.cancel_seconds + 0.5)  # nobody has cancelled it yet
        with transaction() as session:
            cancel(session, job_id)
        assert stuck.wait(60)  # the stage never asks
        with pytest.raises(StageCancelled):
            recorder.check()
