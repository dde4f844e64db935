"""Jobs that publish while the champion changes, or find its files damaged."""

import pytest
from sqlalchemy import select

from app.config import Settings
from app.contracts.comparison import Comparison
from app.contracts.stages import JobStatus, Stage
from app.database import transaction
from app.jobs.aliases import LATEST, Cause, set_alias
from app.predictions.runtime import load_student
from app.storage import get_storage
from app.tables import Alias, Student
from tests.workers.conftest import Submit
from tests.workers.jobs import events, read, run_all, run_of, run_stage
from workers import attempt_run
from workers.execution import StageExecution
from workers.gate import compare_with_latest

pytestmark = pytest.mark.usefixtures("in_this_process")


def test_a_champion_that_changes_meanwhile_is_compared_anew(submit: Submit, monkeypatch: pytest.MonkeyPatch) -> None:
    for _ in range(2):
        assert run_all(submit(distil={"student": "bag"})).status == JobStatus.SUCCEEDED
    compared: list[int | None] = []

    def rolled_back_meanwhile(execution: StageExecution) -> Comparison:
        comparison = compare_with_latest(execution)
        if not compared:
            with transaction() as session:
                set_alias(session, "triage", LATEST, 1, Cause.CALLER)
        compared.append(comparison.champion)
        return comparison

    monkeypatch.setattr(attempt_run, "compare_with_latest", rolled_back_meanwhile)
    job = run_all(submit(distil={"student": "bag"}))
    assert job.status == JobStatus.SUCCEEDED
    assert compared == [2, 1]
    assert events(job.id).count("student_published") == 1
    with transaction() as session:
        assert session.get_one(Alias, ("default", "triage", "latest")).version == 3
        assert session.scalars(select(Student).where(Student.version == 3)).one().promotion["comparison"]["champion"] == 1


def test_what_was_damaged_before_it_was_published_is_made_again(
    service_env: Settings, submit: Submit, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_all(submit(distil={"student": "bag"}))
    damaged: list[str] = []

    def damaged_meanwhile(execution: StageExecution) -> Comparison:
        if not damaged:
            damaged.append(execution.key)
            (service_env.data_dir / "blobs" / "artefacts" / execution.key / "student.onnx").write_bytes(b"")
        return compare_with_latest(execution)

    monkeypatch.setattr(attempt_run, "compare_with_latest", damaged_meanwhile)
    job_id = submit(distil={"student": "bag"})
    run_all(job_id)
    run_stage(job_id, Stage.PUBLISH)
    job = read(job_id)
    assert (job.status, job.error) == (JobStatus.SUCCEEDED, None)
    assert "stage_rebuilt" in events(job_id)
    assert load_student(get_storage(), damaged[0]).manifest.kind == "bag"


def test_a_champion_whose_files_are_damaged_is_no_obstacle(service_env: Settings, submit: Submit) -> None:
    first = run_all(submit(distil={"student": "bag"}))
    key = run_of(first.id, Stage.PUBLISH).artefact_key
    (service_env.data_dir / "blobs" / "artefacts" / key / "student.onnx").write_bytes(b"")
    assert run_all(submit(distil={"student": "bag"})).status == JobStatus.SUCCEEDED
    with transaction() as session:
        assert session.get_one(Alias, ("default", "triage", "latest")).version == 2
        reason = session.scalars(select(Student).where(Student.version == 2)).one().promotion["reason"]
    assert reason == "not compared with triage:1: its files cannot be read or run"
