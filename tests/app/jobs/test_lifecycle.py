"""The transitions of jobs and stage runs, on both databases."""

from functools import partial

import pytest
from sqlalchemy import update

from app.contracts.stages import GRAPH, Stage
from app.jobs import lifecycle
from app.tables import Job
from tests.app.jobs.transitions import (
    DONE,
    ERROR,
    NewJob,
    ReadJob,
    RunId,
    Sessions,
    attempt,
    cancel,
    claim,
    event_types,
    finish,
    statuses,
)
from tests.waiting import together


def test_claim_takes_a_queued_stage_once(sessions: Sessions, new_job: NewJob, run_id: RunId, read_job: ReadJob) -> None:
    job_id = new_job()
    teacher = run_id(job_id, Stage.FINETUNE_TEACHER)
    run = claim(sessions, teacher)
    assert run is not None
    assert (run.status, run.attempt, run.worker) == ("running", 1, "worker-1")
    assert run.started_at is not None
    assert run.heartbeat_at is not None
    assert claim(sessions, teacher) is None
    assert claim(sessions, run_id(job_id, Stage.LABEL)) is None  # pending
    assert claim(sessions, 10**6) is None
    assert read_job(job_id).status == "running"
    assert event_types(sessions, job_id) == ["job_queued", "stage_started"]


def test_of_two_workers_one_gets_the_stage(sessions: Sessions, new_job: NewJob, run_id: RunId) -> None:
    for _ in range(5):
        teacher = run_id(new_job(), Stage.FINETUNE_TEACHER)
        claims = together(*[partial(claim, sessions, teacher)] * 2)
        assert sum(run is not None for run in claims) == 1


def test_stages_follow_the_graph_until_the_job_has_succeeded(sessions: Sessions, new_job: NewJob, run_id: RunId, read_job: ReadJob) -> None:
    job_id = new_job()
    ids = {stage: run_id(job_id, stage) for stage in Stage}
    assert finish(sessions, ids[Stage.FINETUNE_TEACHER], warnings=["slow", "slow"]) == []
    assert finish(sessions, ids[Stage.FINETUNE_GENERATOR], reused=True) == [(ids[Stage.GENERATE], "gpu")]
    assert finish(sessions, ids[Stage.GENERATE], warnings=["slow", "few"]) == [(ids[Stage.LABEL], "gpu")]
    assert finish(sessions, ids[Stage.LABEL]) == [(ids[Stage.DISTIL], "gpu")]
    assert finish(sessions, ids[Stage.DISTIL]) == [(ids[Stage.PUBLISH], "cpu")]
    assert read_job(job_id).status == "running"
    assert finish(sessions, ids[Stage.PUBLISH], metrics={"accuracy": 0.9}) == []
    job = read_job(job_id)
    assert (job.status, job.warnings) == ("succeeded", ["slow", "few"])
    assert job.finished_at is not None
    assert job.stages[1].reused
    assert job.stages[5].metrics == {"accuracy": 0.9}
    assert job.stages[5].artefact_key == f"key-{ids[Stage.PUBLISH]}"
    assert event_types(sessions, job_id)[-1] == "job_succeeded"


def test_two_predecessors_that_finish_together_queue_their_successor_once(
    sessions: Sessions, new_job: NewJob, run_id: RunId, read_job: ReadJob
) -> None:
    for _ in range(5):
        job_id = new_job()
        finish(sessions, run_id(job_id, Stage.FINETUNE_GENERATOR))
        ids = [run_id(job_id, Stage.FINETUNE_TEACHER), run_id(job_id, Stage.GENERATE)]
        for found in ids:
            assert claim(sessions, found) is not None

        def end(found: int) -> list[tuple[int, str]]:
            with sessions.begin() as session:
                assert lifecycle.finish_stage(session, found, 1, artefact_key="k", **DONE)
                return list(session.info.get("pending_messages", []))

        messages = together(*(partial(end, found) for found in ids))
        assert [message for sent in messages for message in sent] == [(run_id(job_id, Stage.LABEL), "gpu")]
        assert statuses(read_job(job_id))["label"] == "queued"


def test_an_outdated_attempt_changes_nothing(sessions: Sessions, new_job: NewJob, run_id: RunId, read_job: ReadJob) -> None:
    job_id = new_job()
    teacher = run_id(job_id, Stage.FINETUNE_TEACHER)
    claim(sessions, teacher)
    with sessions.begin() as session:
        assert not lifecycle.finish_stage(session, teacher, 2, artefact_key="k", **DONE)
        assert not lifecycle.fail_stage(session, teacher, 0, ERROR, retry=True, max_attempts=3)
        assert not lifecycle.release_stage(session, teacher, 2)
        assert not lifecycle.cancel_running(session, teacher, 2)
        assert not lifecycle.heartbeat(session, teacher, 2, 1, 2, "epochs")
    assert statuses(read_job(job_id))["finetune_teacher"] == "running"
    assert event_types(sessions, job_id) == ["job_queued", "stage_started"]


def test_a_failure_is_retried_and_then_fails_the_job(sessions: Sessions, new_job: NewJob, run_id: RunId, read_job: ReadJob) -> None:
    job_id = new_job()
    teacher = run_id(job_id, Stage.FINETUNE_TEACHER)
    claim(sessions, teacher)
    with sessions.begin() as session:
        assert lifecycle.fail_stage(session, teacher, 1, ERROR, retry=True, max_attempts=2)
        assert session.info["pending_messages"] == [(teacher, "gpu")]
    assert statuses(read_job(job_id))["finetune_teacher"] == "queued"
    run = claim(sessions, teacher)
    assert run is not None
    assert (run.attempt, run.error) == (2, None)
    with sessions.begin() as session:
        assert lifecycle.fail_stage(session, teacher, 2, ERROR, retry=True, max_attempts=2)
        assert "pending_messages" not in session.info
    job = read_job(job_id)
    assert job.status == "failed"
    assert job.error == {**ERROR, "stage": "finetune_teacher"}
    assert job.finished_at is not None
    assert statuses(job) == {**dict.fromkeys(GRAPH, "cancelled"), "finetune_teacher": "failed"}
    assert event_types(sessions, job_id) == ["job_queued", "stage_started", "stage_retried", "stage_started", "job_failed"]


def test_a_sibling_of_a_failed_stage_ends_without_starting_anything(
    sessions: Sessions, new_job: NewJob, run_id: RunId, read_job: ReadJob
) -> None:
    job_id = new_job()
    teacher, generator = run_id(job_id, Stage.FINETUNE_TEACHER), run_id(job_id, Stage.FINETUNE_GENERATOR)
    claim(sessions, teacher)
    claim(sessions, generator)
    with sessions.begin() as session:
        lifecycle.fail_stage(session, teacher, 1, ERROR, retry=False, max_attempts=3)
    with sessions.begin() as session:
        assert lifecycle.finish_stage(session, generator, 1, artefact_key="k", **DONE)
        assert "pending_messages" not in session.info
    job = read_job(job_id)
    assert job.status == "failed"
    assert statuses(job)["finetune_generator"] == "succeeded"
    assert statuses(job)["generate"] == "cancelled"


def test_a_released_stage_does_not_lose_the_attempt(sessions: Sessions, new_job: NewJob, run_id: RunId) -> None:
    teacher = run_id(new_job(), Stage.FINETUNE_TEACHER)
    claim(sessions, teacher)
    with sessions.begin() as session:
        assert lifecycle.release_stage(session, teacher, 1)
        assert session.info["pending_messages"] == [(teacher, "gpu")]
    assert attempt(sessions, teacher) == 1


def test_heartbeat_shows_progress_and_tells_of_a_cancellation(
    sessions: Sessions, new_job: NewJob, run_id: RunId, read_job: ReadJob
) -> None:
    job_id = new_job()
    teacher = run_id(job_id, Stage.FINETUNE_TEACHER)
    claim(sessions, teacher)
    with sessions.begin() as session:
        assert lifecycle.heartbeat(session, teacher, 1, 2.5, 8, "epochs")
    run = read_job(job_id).stages[0]
    assert (run.progress_done, run.progress_total, run.unit) == (2.5, 8, "epochs")
    cancel(sessions, job_id)
    job = read_job(job_id)
    assert (job.status, job.finished_at) == ("cancelled", None)
    assert statuses(job) == {**dict.fromkeys(GRAPH, "cancelled"), "finetune_teacher": "running"}
    with sessions.begin() as session:
        assert not lifecycle.heartbeat(session, teacher, 1, 3, 8, "epochs")
        assert lifecycle.cancel_running(session, teacher, 1)
    job = read_job(job_id)
    assert job.finished_at is not None
    assert statuses(job)["finetune_teacher"] == "cancelled"
    assert event_types(sessions, job_id)[-2:] == ["job_cancelling", "job_cancelled"]


@pytest.mark.parametrize("end", ["finish", "fail", "release"])
def test_whatever_ends_a_stage_of_a_cancelled_job_ends_the_job(
    sessions: Sessions, new_job: NewJob, run_id: RunId, read_job: ReadJob, end: str
) -> None:
    job_id = new_job()
    teacher = run_id(job_id, Stage.FINETUNE_TEACHER)
    claim(sessions, teacher)
    cancel(sessions, job_id)
    with sessions.begin() as session:
        if end == "finish":
            assert lifecycle.finish_stage(session, teacher, 1, artefact_key="k", **DONE)
        elif end == "fail":
            assert lifecycle.fail_stage(session, teacher, 1, ERROR, retry=True, max_attempts=3)
        else:
            assert lifecycle.release_stage(session, teacher, 1)
        assert "pending_messages" not in session.info
    job = read_job(job_id)
    assert job.status == "cancelled"
    assert job.finished_at is not None
    assert statuses(job)["finetune_teacher"] == ("succeeded" if end == "finish" else "cancelled")


def test_a_cancelled_job_is_not_claimed(sessions: Sessions, new_job: NewJob, run_id: RunId) -> None:
    job_id = new_job()
    with sessions.begin() as session:
        session.execute(update(Job).where(Job.id == job_id).values(status="cancelled"))
    assert claim(sessions, run_id(job_id, Stage.FINETUNE_TEACHER)) is None


def test_resume_goes_on_after_the_last_finished_stage(sessions: Sessions, new_job: NewJob, run_id: RunId, read_job: ReadJob) -> None:
    job_id = new_job()
    teacher, generator = run_id(job_id, Stage.FINETUNE_TEACHER), run_id(job_id, Stage.FINETUNE_GENERATOR)
    finish(sessions, teacher)
    claim(sessions, generator)
    with sessions.begin() as session:
        lifecycle.fail_stage(session, generator, 1, ERROR, retry=False, max_attempts=3)
    with sessions.begin() as session:
        job = lifecycle.lock_job(session, job_id)
        assert job is not None
        lifecycle.resume_job(session, job)
        assert session.info["pending_messages"] == [(generator, "gpu")]
    job = read_job(job_id)
    assert (job.status, job.error, job.finished_at) == ("queued", None, None)
    assert statuses(job) == {**dict.fromkeys(GRAPH, "pending"), "finetune_teacher": "succeeded", "finetune_generator": "queued"}
    assert attempt(sessions, generator) == 1
