"""Whole jobs on a real database, store and Redis, their stages run in order as a worker would."""

from pathlib import Path

import pytest
from sqlalchemy import select

from app.config import Settings
from app.contracts.stages import GRAPH, JobStatus, Stage, StageStatus
from app.database import transaction
from app.predictions.runtime import load_student
from app.storage import get_storage
from app.tables import Alias, Job, Student
from tests.workers.conftest import Submit
from tests.workers.jobs import events, read, run_all, run_of, run_stage, run_stage_run, scratch
from workers.runner import worker_name

pytestmark = pytest.mark.usefixtures("in_this_process")


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
    assert "metric" in told

    second = run_all(submit(distil={"student": "bilstm"}))
    assert second.status == JobStatus.SUCCEEDED
    assert [run.stage for run in second.stages if run.reused] == ["finetune_teacher", "finetune_generator", "generate", "label"]

    with transaction() as session:
        students = list(session.scalars(select(Student).order_by(Student.version)))
        assert [(student.name, student.version, student.kind) for student in students] == [("triage", 1, "bag"), ("triage", 2, "bilstm")]
        promotion = students[1].promotion
        assert promotion is not None
        assert session.get_one(Alias, ("default", "triage", "latest")).version == (2 if promotion["moved"] else 1)
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
    run_stage(job_id, Stage.LABEL)
    assert run_of(job_id, Stage.LABEL).status == StageStatus.PENDING
    assert read(job_id).status == JobStatus.QUEUED
    run_stage_run(987_654)  # nor does one for a row that is not there


def test_a_model_that_is_not_to_be_had_fails_the_job(service_env: Settings, submit: Submit) -> None:
    job_id = submit(teacher={"model": "some-owner/no-such-model"})
    run_stage(job_id, Stage.FINETUNE_TEACHER)
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
    run_stage(job_id, Stage.FINETUNE_GENERATOR)
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
    run_stage(job_id, Stage.FINETUNE_TEACHER)
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
        run_stage(job_id, stage)
    key = run_of(job_id, Stage.FINETUNE_TEACHER).artefact_key
    weights = Path(get_storage().path(f"artefacts/{key}")) / "measured" / "model.safetensors"
    whole = weights.read_bytes()
    weights.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))  # the size stays
    run_stage(job_id, Stage.LABEL)
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
        run_stage(job_id, stage)
    for stage in (Stage.GENERATE, Stage.LABEL):
        run_stage(job_id, stage)
        assert run_of(job_id, stage).status == StageStatus.SHARDED
        parts = [shard.id for shard in read(job_id).shards if shard.stage == stage]
        assert len(parts) > 1
        for part in reversed(parts):
            run_stage_run(part)
        run_stage(job_id, stage)
        run = run_of(job_id, stage)
        assert (run.status, run.attempt, run.error) == (StageStatus.SUCCEEDED, 1, None)
        assert run.progress_done == run.progress_total > 0
    stored = {folder.name for folder in Path(get_storage().path("artefacts")).iterdir()}
    assert stored == {run.artefact_key for run in read(job_id).stages[:4]}
    assert run_all(job_id).status == JobStatus.SUCCEEDED
