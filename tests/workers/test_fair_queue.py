"""Turns that a real worker takes, of tiny jobs."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from sqlalchemy import select

from app.config import Settings
from app.contracts.stages import GRAPH, Stage, StageStatus
from app.database import transaction
from app.ownership import every_project, in_project
from app.tables import Job, Project, StageRun
from tests.waiting import wait_for
from tests.workers.conftest import Submit
from tests.workers.jobs import run_of
from workers.runner import take_turn


@every_project()
def turns() -> list[tuple[str, str]]:
    """The projects of what was begun, and the jobs, in order."""
    with transaction() as session:
        query = select(StageRun.project_id, StageRun.job_id).where(StageRun.started_at.is_not(None)).order_by(StageRun.started_at)
        return [(project, job) for project, job in session.execute(query)]


@every_project()
def statuses() -> list[str]:
    with transaction() as session:
        return list(session.scalars(select(Job.status)))


def test_a_real_worker_serves_projects_in_turn(service_env: Settings, submit: Submit, tmp_path: Path) -> None:
    with transaction() as session:
        session.add(Project(id="many", jobs_running=1))
        session.add(Project(id="one"))
    with in_project("many"):
        many = [submit() for _ in range(2)]
    with in_project("one"):
        submit()
    log = tmp_path / "worker.log"
    with log.open("wb") as output:
        # Longer than the test: what the sweeper does would hide a message that is missing.
        environment = {**os.environ, "GENDISTIL_WORKER__SWEEP_SECONDS": "3600", "GENDISTIL_WORKER__ISOLATE": "false"}
        command = [sys.executable, "-m", "workers.main", "--queues", "gpu,cpu"]
        worker = subprocess.Popen(command, env=environment, stdout=output, stderr=output)
    try:
        wait_for(lambda: statuses() == ["succeeded"] * 3, 300, log.read_text)
    finally:
        worker.terminate()
        assert worker.wait(60) == 0
    begun = turns()
    of_one = [number for number, (project, _) in enumerate(begun, 1) if project == "one"]
    assert of_one[0] <= 2
    assert of_one[-1] <= 2 * len(GRAPH) + 1  # a message of the other queue may come first
    of_many = [job for project, job in begun if project == "many"]
    assert of_many == [job for job in many for _ in GRAPH]


@pytest.mark.usefixtures("in_this_process")
def test_a_stage_without_its_inputs_is_withdrawn_and_the_turn_is_anothers(submit: Submit) -> None:
    waits, other = submit(), submit()
    with transaction() as session:
        for stage, status in (
            (Stage.FINETUNE_TEACHER, StageStatus.RUNNING),
            (Stage.FINETUNE_GENERATOR, StageStatus.RUNNING),
            (Stage.LABEL, StageStatus.QUEUED),
        ):
            session.query(StageRun).filter_by(job_id=waits, stage=stage).one().status = status
    take_turn("gpu")
    assert run_of(waits, Stage.LABEL).status == StageStatus.PENDING
    assert run_of(other, Stage.FINETUNE_TEACHER).status == StageStatus.SUCCEEDED
    take_turn("cpu")  # nothing waits there
    assert run_of(other, Stage.FINETUNE_GENERATOR).status == StageStatus.QUEUED
