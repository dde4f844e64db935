"""Whole jobs on a real database, store and Redis, their stages run in order as a worker would."""

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from app.config import Settings
from app.contracts.comparison import Comparison
from app.contracts.stages import GRAPH, JobStatus, Stage, StageStatus
from app.database import transaction
from app.datasets.raw import RawRow
from app.datasets.service import create_dataset
from app.jobs.aliases import LATEST, Cause, set_alias
from app.jobs.lifecycle import lock_job
from app.jobs.service import cancel, create_job, get_job
from app.predictions.runtime import load_student
from app.storage import get_storage
from app.tables import Alias, Event, Job, StageRun, Student, utcnow
from tests.workers.tiny import make_rows, tiny_spec
from workers import attempt_run
from workers.execution import StageExecution
from workers.gate import compare_with_latest
from workers.runner import run_stage_run, sweep_once, worker_name
from workers.stopping import shutting_down

LONG = {"epochs": 198, "refit_epochs": 2}
Submit = Callable[..., str]


@pytest.fixture(autouse=True)
def _fast_heart(service_env: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(service_env.worker, "heartbeat_seconds", 0.05)
    monkeypatch.setattr(service_env.worker, "retry_seconds", 0.0)
    monkeypatch.setattr(service_env.worker, "isolate", False)
    yield
    shutting_down.clear()


@pytest.fixture
def submit(service_env: Settings, teacher_model: Path, generator_model: Path) -> Submit:
    """Creates a job on 20 rows a label, as the API does; `overrides` of its spec by part."""

    def create(name: str = "triage", **overrides: dict[str, Any]) -> str:
        rows = [RawRow(number, row.text, row.label) for number, row in enumerate(make_rows(20), 1)]
        short = {
            "teacher": {"epochs": 2, "refit_epochs": 1},
            "generator": {"epochs": 2},
            "generate": {"texts": 8, "max_attempts": 10},
            "distil": {"epochs": 1, "refit_epochs": 1, "min_steps": 5},
        }
        parts = {part: {**short.get(part, {}), **overrides.get(part, {})} for part in {*short, *overrides}}
        with transaction() as session:
            dataset = create_dataset(session, rows, [], limits=service_env.limits, storage=get_storage())
            spec = tiny_spec(teacher_model, generator_model, **parts)
            return create_job(session, name=name, dataset=dataset, preset="fast", spec=spec, replace_dataset=False).id

    return create


def read(job_id: str) -> Job:
    with transaction() as session:
        return get_job(session, job_id)


def run_of(job_id: str, stage: Stage) -> StageRun:
    return next(run for run in read(job_id).stages if run.stage == stage)


def run_all(job_id: str) -> Job:
    for stage in GRAPH:
        run_stage_run(run_of(job_id, stage).id)
    return read(job_id)


def events(job_id: str) -> list[str]:
    with transaction() as session:
        return list(session.scalars(select(Event.type).where(Event.job_id == job_id).order_by(Event.id)))


def scratch(settings: Settings) -> list[Path]:
    return list((settings.data_dir.resolve() / "work").iterdir())


def test_a_job_becomes_a_student_and_the_next_reuses_its_stages(service_env: Settings, submit: Submit) -> None:
    first = run_all(submit(distil={"student": "bag"}))
    assert first.error is None
    assert first.status == JobStatus.SUCCEEDED
    for run in first.stages:
        assert (run.status, run.attempt, run.reused, run.error) == (StageStatus.SUCCEEDED, 1, False, None)
        assert run.progress_done == run.progress_total > 0
        assert run.unit == GRAPH[Stage(run.stage)].unit
        assert run.worker == worker_name()
        assert run.metrics
    assert scratch(service_env) == []
    told = events(first.id)
    assert told[0] == "job_queued"
    assert told[-1] == "job_succeeded"
    assert "epoch" in told

    second = run_all(submit(distil={"student": "bilstm"}))
    assert second.status == JobStatus.SUCCEEDED
    assert [run.stage for run in second.stages if run.reused] == ["finetune_teacher", "finetune_generator", "generate", "label"]

    with transaction() as session:
        students = list(session.scalars(select(Student).order_by(Student.version)))
        assert [(student.name, student.version, student.kind) for student in students] == [("triage", 1, "bag"), ("triage", 2, "bilstm")]
        promotion = students[1].promotion
        assert promotion is not None
        assert session.get_one(Alias, ("triage", "latest")).version == (2 if promotion["moved"] else 1)
    # Both on the same held-out rows, by their answers from before they learned them.
    scores = [student.manifest["metrics"]["accuracy"] for student in students]
    comparison = promotion["comparison"]
    assert (comparison["champion"], comparison["rows"]) == (1, students[1].manifest["parity"]["rows"])
    assert [comparison["champion_accuracy"], comparison["accuracy"]] == pytest.approx(scores)
    for student, job in zip(students, (first, second), strict=True):
        lineage = student.manifest["lineage"]
        assert lineage["job"] == job.id
        assert lineage["artefacts"] == {run.stage: run.artefact_key for run in job.stages if run.stage != "publish"}
        assert lineage["spec"] == job.spec
        assert lineage["dataset"] == job.dataset.content_hash
        assert set(lineage["seeds"]) == {"split", "teacher", "generator", "generate", "label", "distil", "publish"}
        serving = load_student(get_storage(), student.artefact_key)
        scores = serving.probabilities(["please change my secret pin code", "the courier and the envelope"])
        assert scores.shape == (2, 3)
        assert scores.sum(1) == pytest.approx([1, 1])


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
        assert session.get_one(Alias, ("triage", "latest")).version == 3
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
    run_stage_run(run_of(job_id, Stage.PUBLISH).id)
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
        assert session.get_one(Alias, ("triage", "latest")).version == 2
        reason = session.scalars(select(Student).where(Student.version == 2)).one().promotion["reason"]
    assert reason == "not compared with triage:1: its files cannot be read or run"


def test_a_message_that_comes_twice_does_nothing(submit: Submit) -> None:
    job_id = submit()
    run_id = run_of(job_id, Stage.FINETUNE_TEACHER).id
    run_stage_run(run_id)
    before = run_of(job_id, Stage.FINETUNE_TEACHER)
    told = events(job_id)
    run_stage_run(run_id)
    after = run_of(job_id, Stage.FINETUNE_TEACHER)
    assert (after.attempt, after.finished_at, after.artefact_key) == (1, before.finished_at, before.artefact_key)
    assert events(job_id) == told


def test_a_message_that_comes_early_does_nothing(submit: Submit) -> None:
    job_id = submit()
    run_stage_run(run_of(job_id, Stage.LABEL).id)
    assert run_of(job_id, Stage.LABEL).status == StageStatus.PENDING
    assert read(job_id).status == JobStatus.QUEUED
    run_stage_run(987_654)  # nor does one for a row that is not there


def test_a_model_that_is_not_to_be_had_fails_the_job(service_env: Settings, submit: Submit) -> None:
    job_id = submit(teacher={"model": "some-owner/no-such-model"})
    run_stage_run(run_of(job_id, Stage.FINETUNE_TEACHER).id)
    job = read(job_id)
    assert job.status == JobStatus.FAILED
    assert job.error is not None
    assert (job.error["type"], job.error["stage"]) == ("model-unavailable", "finetune_teacher")
    assert "some-owner/no-such-model" in job.error["detail"]
    assert "submit again" in job.error["remedy"]
    assert job.finished_at is not None
    assert [run.status for run in job.stages] == [StageStatus.FAILED] + 5 * [StageStatus.CANCELLED]
    assert events(job_id)[-1] == "job_failed"


def test_a_generator_that_cannot_write_fails_the_job(service_env: Settings, submit: Submit, teacher_model: Path) -> None:
    job_id = submit(generator={"model": str(teacher_model)})
    run_stage_run(run_of(job_id, Stage.FINETUNE_GENERATOR).id)
    job = read(job_id)
    assert job.status == JobStatus.FAILED
    assert job.error is not None
    assert job.error["type"] == "invalid-spec"
    assert "no end-of-text token; choose another generator" in job.error["detail"]
    assert scratch(service_env) == []


def test_a_spec_of_another_version_fails_the_job(submit: Submit) -> None:
    job_id = submit()
    with transaction() as session:
        job = session.get_one(Job, job_id)
        job.spec = {**job.spec, "distil": {**job.spec["distil"], "gone_since": 1}}
    run_stage_run(run_of(job_id, Stage.FINETUNE_TEACHER).id)
    job = read(job_id)
    assert job.status == JobStatus.FAILED
    assert job.error is not None
    assert job.error["type"] == "invalid-spec"
    assert "gone_since" in job.error["detail"]


def test_what_may_pass_is_tried_again_and_then_given_up(service_env: Settings, submit: Submit) -> None:
    job_id = submit()
    run_id = run_of(job_id, Stage.FINETUNE_TEACHER).id
    get_storage().fs.rm(get_storage().path("datasets"), recursive=True)  # a store that lost the rows, or is not mounted
    for attempt in range(1, service_env.worker.max_attempts):
        run_stage_run(run_id)
        run = run_of(job_id, Stage.FINETUNE_TEACHER)
        assert (run.status, run.attempt) == (StageStatus.QUEUED, attempt)
    run_stage_run(run_id)
    job = read(job_id)
    assert job.status == JobStatus.FAILED
    assert job.error is not None
    assert job.error["type"] == "storage-unavailable"
    assert events(job_id).count("stage_retried") == service_env.worker.max_attempts - 1


def test_a_damaged_artefact_is_made_again(service_env: Settings, submit: Submit) -> None:
    job_id = submit()
    for stage in (Stage.FINETUNE_TEACHER, Stage.FINETUNE_GENERATOR, Stage.GENERATE):
        run_stage_run(run_of(job_id, stage).id)
    key = run_of(job_id, Stage.FINETUNE_TEACHER).artefact_key
    weights = Path(get_storage().path(f"artefacts/{key}")) / "measured" / "model.safetensors"
    whole = weights.read_bytes()
    weights.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))  # the size stays
    run_stage_run(run_of(job_id, Stage.LABEL).id)
    job = read(job_id)
    assert job.status == JobStatus.RUNNING
    assert [run.status for run in job.stages[:4]] == [StageStatus.QUEUED, StageStatus.SUCCEEDED, StageStatus.SUCCEEDED, StageStatus.PENDING]
    assert not weights.exists()
    job = run_all(job_id)
    assert job.status == JobStatus.SUCCEEDED
    assert weights.read_bytes() == whole
    assert events(job_id).count("stage_rebuilt") == 1
    assert [run.reused for run in job.stages] == [False] * 6


def test_stages_in_shards_give_what_their_merger_makes_of_them(service_env: Settings, submit: Submit) -> None:
    job_id = submit(generate={"texts": 30, "shard_tokens": 150}, label={"shard_tokens": 400})
    for stage in (Stage.FINETUNE_TEACHER, Stage.FINETUNE_GENERATOR):
        run_stage_run(run_of(job_id, stage).id)
    for stage in (Stage.GENERATE, Stage.LABEL):
        run_stage_run(run_of(job_id, stage).id)
        assert run_of(job_id, stage).status == StageStatus.SHARDED
        parts = [shard.id for shard in read(job_id).shards if shard.stage == stage]
        assert len(parts) > 1
        for part in reversed(parts):
            run_stage_run(part)
        run_stage_run(run_of(job_id, stage).id)
        run = run_of(job_id, stage)
        assert (run.status, run.attempt, run.error) == (StageStatus.SUCCEEDED, 1, None)
        assert run.progress_done == run.progress_total > 0
    stored = {folder.name for folder in Path(get_storage().path("artefacts")).iterdir()}
    assert stored == {run.artefact_key for run in read(job_id).stages[:4]}
    assert run_all(job_id).status == JobStatus.SUCCEEDED


def in_thread(run_id: int) -> threading.Thread:
    thread = threading.Thread(target=run_stage_run, args=(run_id,))
    thread.start()
    return thread


def wait_until(condition: Callable[[], bool], seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)


def test_a_cancelled_job_stops_while_it_runs(service_env: Settings, submit: Submit, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service_env.worker, "checkpoint_seconds", 0.0)
    job_id = submit(teacher=LONG)
    run_id = run_of(job_id, Stage.FINETUNE_TEACHER).id
    thread = in_thread(run_id)
    wait_until(lambda: run_of(job_id, Stage.FINETUNE_TEACHER).progress_done > 0)
    running = run_of(job_id, Stage.FINETUNE_TEACHER)
    assert running.status == StageStatus.RUNNING
    assert 0 < running.progress_done < running.progress_total == 200
    with transaction() as session:
        cancel(session, job_id)
    thread.join(10)
    assert not thread.is_alive()
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
    run_id = run_of(job_id, Stage.FINETUNE_TEACHER).id
    thread = in_thread(run_id)
    wait_until(lambda: run_of(job_id, Stage.FINETUNE_TEACHER).progress_done > 0)
    shutting_down.set()
    thread.join(10)
    assert not thread.is_alive()
    run = run_of(job_id, Stage.FINETUNE_TEACHER)
    assert (run.status, run.attempt) == (StageStatus.QUEUED, 0)
    assert read(job_id).status == JobStatus.RUNNING
    assert "stage_released" in events(job_id)
    assert scratch(service_env) == []
    run_stage_run(run_id)  # still shutting down: the message is left for another worker
    assert run_of(job_id, Stage.FINETUNE_TEACHER).status == StageStatus.QUEUED


def test_a_stage_taken_from_its_worker_is_not_finished_by_it(
    submit: Submit, service_env: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The worker was thought dead, and another took its row; what the first made late changes nothing."""
    monkeypatch.setattr(service_env.worker, "checkpoint_seconds", 0.0)
    job_id = submit(teacher=LONG)
    run_id = run_of(job_id, Stage.FINETUNE_TEACHER).id
    thread = in_thread(run_id)
    wait_until(lambda: run_of(job_id, Stage.FINETUNE_TEACHER).progress_done > 0)
    with transaction() as session:
        lock_job(session, job_id)
        session.get_one(StageRun, run_id, populate_existing=True).attempt = 2
    thread.join(10)
    assert not thread.is_alive()
    run = run_of(job_id, Stage.FINETUNE_TEACHER)
    assert (run.status, run.attempt) == (StageStatus.RUNNING, 2)
    assert read(job_id).status == JobStatus.RUNNING
    assert len(list(get_storage().checkpoint_keys())) == 1  # the next attempt goes on from it


def test_the_sweeper_takes_a_stage_from_a_dead_worker(service_env: Settings, submit: Submit, monkeypatch: pytest.MonkeyPatch) -> None:
    job_id = submit()
    run_id = run_of(job_id, Stage.FINETUNE_TEACHER).id
    assert sweep_once() == 0
    monkeypatch.setattr(service_env.worker, "lost_after_seconds", 0.0)
    with transaction() as session:
        run = session.get_one(StageRun, run_id)
        run.status, run.attempt, run.worker, run.heartbeat_at = StageStatus.RUNNING, 1, "dead:1", utcnow()
        session.get_one(Job, job_id).status = JobStatus.RUNNING
    time.sleep(0.01)
    assert sweep_once() >= 1
    run = run_of(job_id, Stage.FINETUNE_TEACHER)
    assert run.status == StageStatus.QUEUED
    run_stage_run(run_id)
    assert run_of(job_id, Stage.FINETUNE_TEACHER).attempt == 2
    assert run_of(job_id, Stage.FINETUNE_TEACHER).status == StageStatus.SUCCEEDED
