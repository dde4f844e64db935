"""Stages that are stopped while they run, and those of workers that are gone."""

from datetime import timedelta

import pytest

from app.config import Settings
from app.contracts.stages import JobStatus, Stage, StageStatus
from app.database import transaction
from app.jobs.lifecycle import lock_job
from app.jobs.service import cancel
from app.storage import get_storage
from app.tables import Job, StageRun, utcnow
from tests.workers.conftest import Submit
from tests.workers.jobs import LONG, LONG_EPOCHS, ends, events, read, run_of, run_stage_run, scratch, start_teacher
from workers.runner import sweep_once, take_turn
from workers.stopping import shutting_down

pytestmark = pytest.mark.usefixtures("in_this_process")


def test_a_cancelled_job_stops_while_it_runs(service_env: Settings, submit: Submit, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service_env.worker, "checkpoint_seconds", 0.0)
    job_id = submit(teacher=LONG)
    thread = start_teacher(job_id)
    running = run_of(job_id, Stage.FINETUNE_TEACHER)
    assert running.status == StageStatus.RUNNING
    assert 0 < running.progress_done < running.progress_total == LONG_EPOCHS
    with transaction() as session:
        cancel(session, job_id)
    assert ends(thread)
    job = read(job_id)
    assert job.status == JobStatus.CANCELLED
    assert job.finished_at is not None
    assert {run.status for run in job.stages} == {StageStatus.CANCELLED}
    assert events(job_id)[-1] == "job_cancelled"
    assert scratch(service_env) == []
    assert not get_storage().exists("artefacts")
    assert list(get_storage().checkpoint_keys()) == []


def test_a_worker_that_shuts_down_gives_its_stage_back(service_env: Settings, submit: Submit) -> None:
    job_id = submit(teacher=LONG)
    thread = start_teacher(job_id)
    shutting_down.set()
    assert ends(thread)
    run = run_of(job_id, Stage.FINETUNE_TEACHER)
    assert (run.status, run.attempt) == (StageStatus.QUEUED, 0)
    assert read(job_id).status == JobStatus.RUNNING
    assert "stage_released" in events(job_id)
    assert scratch(service_env) == []
    take_turn("gpu")  # still shutting down: the message is left for another worker
    assert run_of(job_id, Stage.FINETUNE_TEACHER).status == StageStatus.QUEUED


def test_a_stage_taken_from_its_worker_is_not_finished_by_it(
    submit: Submit, service_env: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The worker was thought dead, and another took its row; what the first made late changes nothing."""
    monkeypatch.setattr(service_env.worker, "checkpoint_seconds", 0.0)
    job_id = submit(teacher=LONG)
    run_id = run_of(job_id, Stage.FINETUNE_TEACHER).id
    thread = start_teacher(job_id)
    with transaction() as session:
        lock_job(session, job_id)
        session.get_one(StageRun, run_id, populate_existing=True).attempt = 2
    assert ends(thread)
    run = run_of(job_id, Stage.FINETUNE_TEACHER)
    assert (run.status, run.attempt) == (StageStatus.RUNNING, 2)
    assert read(job_id).status == JobStatus.RUNNING
    assert len(list(get_storage().checkpoint_keys())) == 1  # the next attempt goes on from it


def test_the_sweeper_takes_a_stage_from_a_dead_worker(service_env: Settings, submit: Submit, monkeypatch: pytest.MonkeyPatch) -> None:
    job_id = submit()
    run_id = run_of(job_id, Stage.FINETUNE_TEACHER).id
    assert sweep_once() == 0
    monkeypatch.setattr(service_env.worker, "lost_after_seconds", 5.0)
    with transaction() as session:
        run = session.get_one(StageRun, run_id)
        run.status, run.attempt, run.worker, run.heartbeat_at = StageStatus.RUNNING, 1, "dead:1", utcnow() - timedelta(seconds=6)
        session.get_one(Job, job_id).status = JobStatus.RUNNING
    assert sweep_once() == 1
    run = run_of(job_id, Stage.FINETUNE_TEACHER)
    assert run.status == StageStatus.QUEUED
    run_stage_run(run_id)
    assert run_of(job_id, Stage.FINETUNE_TEACHER).attempt == 2
    assert run_of(job_id, Stage.FINETUNE_TEACHER).status == StageStatus.SUCCEEDED
