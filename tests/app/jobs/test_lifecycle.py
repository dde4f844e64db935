"""The transitions of jobs and stage runs, on both databases."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select, update
from sqlalchemy.orm import Session, sessionmaker

from app.contracts.stages import GRAPH, Stage
from app.jobs import lifecycle, sweeping
from app.tables import Alias, Event, Job, StageRun, utcnow

Sessions = sessionmaker[Session]
NewJob = Callable[..., str]
RunId = Callable[[str, Stage], int]
ReadJob = Callable[[str], Job]

ERROR = {"type": "out-of-memory", "detail": "too big", "remedy": "smaller batch"}
DONE: dict[str, Any] = {"reused": False, "metrics": {}, "warnings": []}


def run_stage(sessions: Sessions, run_id: int, **outcome: Any) -> list[tuple[int, str]]:
    """Claims and finishes a stage; returns the messages to send."""
    with sessions.begin() as session:
        run = lifecycle.claim(session, run_id, "worker-1")
        assert run is not None
    with sessions.begin() as session:
        assert lifecycle.finish_stage(session, run_id, run.attempt, artefact_key=f"key-{run_id}", **{**DONE, **outcome})
        return list(session.info.get("pending_messages", []))


def claim(sessions: Sessions, run_id: int) -> StageRun | None:
    with sessions.begin() as session:
        return lifecycle.claim(session, run_id, "worker-1")


def statuses(job: Job) -> dict[str, str]:
    return {run.stage: run.status for run in job.stages}


def event_types(sessions: Sessions, job_id: str) -> list[str]:
    with sessions() as session:
        return list(session.scalars(select(Event.type).where(Event.job_id == job_id).order_by(Event.id)))


def together(*calls: Callable[[], Any]) -> list[Any]:
    """Runs the calls at the same moment, each in a thread of its own."""
    barrier = threading.Barrier(len(calls))

    def start(call: Callable[[], Any]) -> Any:
        barrier.wait()
        return call()

    with ThreadPoolExecutor(len(calls)) as pool:
        return list(pool.map(start, calls))


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
        claims = together(lambda: claim(sessions, teacher), lambda: claim(sessions, teacher))  # noqa: B023
        assert sum(run is not None for run in claims) == 1


def test_stages_follow_the_graph_until_the_job_has_succeeded(sessions: Sessions, new_job: NewJob, run_id: RunId, read_job: ReadJob) -> None:
    job_id = new_job()
    ids = {stage: run_id(job_id, stage) for stage in Stage}
    assert run_stage(sessions, ids[Stage.FINETUNE_TEACHER], warnings=["slow", "slow"]) == []
    assert run_stage(sessions, ids[Stage.FINETUNE_GENERATOR], reused=True) == [(ids[Stage.GENERATE], "gpu")]
    assert run_stage(sessions, ids[Stage.GENERATE], warnings=["slow", "few"]) == [(ids[Stage.LABEL], "gpu")]
    assert run_stage(sessions, ids[Stage.LABEL]) == [(ids[Stage.DISTIL], "gpu")]
    assert run_stage(sessions, ids[Stage.DISTIL]) == [(ids[Stage.PUBLISH], "cpu")]
    assert read_job(job_id).status == "running"
    assert run_stage(sessions, ids[Stage.PUBLISH], metrics={"accuracy": 0.9}) == []
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
        run_stage(sessions, run_id(job_id, Stage.FINETUNE_GENERATOR))
        ids = [run_id(job_id, Stage.FINETUNE_TEACHER), run_id(job_id, Stage.GENERATE)]
        for found in ids:
            assert claim(sessions, found) is not None

        def finish(found: int) -> list[tuple[int, str]]:
            with sessions.begin() as session:
                assert lifecycle.finish_stage(session, found, 1, artefact_key="k", **DONE)
                return list(session.info.get("pending_messages", []))

        messages = together(*(lambda found=found: finish(found) for found in ids))  # type: ignore[misc]
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
    run = claim(sessions, teacher)
    assert run is not None
    assert run.attempt == 1


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
    with sessions.begin() as session:
        job = lifecycle.lock_job(session, job_id)
        assert job is not None
        lifecycle.cancel_job(session, job)
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
    with sessions.begin() as session:
        job = lifecycle.lock_job(session, job_id)
        assert job is not None
        lifecycle.cancel_job(session, job)
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


def age(sessions: Sessions, run_id: int, seconds: float) -> None:
    """Makes a stage run look as if nothing had been heard of it for so long."""
    with sessions.begin() as session:
        then = utcnow() - timedelta(seconds=seconds)
        session.execute(update(StageRun).where(StageRun.id == run_id).values(heartbeat_at=then, queued_at=then))


def sweep(sessions: Sessions, max_attempts: int = 2) -> tuple[int, list[tuple[int, str]]]:
    with sessions.begin() as session:
        mended = sweeping.sweep(session, timedelta(seconds=60), timedelta(seconds=120), max_attempts)
        return mended, list(session.info.get("pending_messages", []))


def test_sweep_gives_a_lost_stage_to_another_worker_and_gives_up_in_the_end(
    sessions: Sessions, new_job: NewJob, run_id: RunId, read_job: ReadJob
) -> None:
    job_id = new_job()
    teacher = run_id(job_id, Stage.FINETUNE_TEACHER)
    claim(sessions, teacher)
    assert sweep(sessions) == (0, [])
    age(sessions, teacher, 61)
    assert sweep(sessions) == (1, [(teacher, "gpu")])
    claim(sessions, teacher)
    age(sessions, teacher, 61)
    assert sweep(sessions) == (1, [])
    job = read_job(job_id)
    assert job.status == "failed"
    assert job.error is not None
    assert job.error["type"] == "worker-lost"
    assert "worker-1" in job.error["detail"]
    assert job.error["remedy"]


def test_sweep_sends_a_forgotten_message_again_and_then_waits(sessions: Sessions, new_job: NewJob, run_id: RunId) -> None:
    job_id = new_job()
    teacher, label = run_id(job_id, Stage.FINETUNE_TEACHER), run_id(job_id, Stage.LABEL)
    age(sessions, teacher, 121)
    age(sessions, label, 121)  # pending: not to be sent
    assert sweep(sessions) == (1, [(teacher, "gpu")])
    assert sweep(sessions) == (0, [])


def test_sweep_ends_a_cancelled_job_whose_worker_died(sessions: Sessions, new_job: NewJob, run_id: RunId, read_job: ReadJob) -> None:
    job_id = new_job()
    teacher = run_id(job_id, Stage.FINETUNE_TEACHER)
    claim(sessions, teacher)
    with sessions.begin() as session:
        job = lifecycle.lock_job(session, job_id)
        assert job is not None
        lifecycle.cancel_job(session, job)
    age(sessions, teacher, 61)
    assert sweep(sessions) == (1, [])
    job = read_job(job_id)
    assert job.finished_at is not None
    assert statuses(job)["finetune_teacher"] == "cancelled"


def test_two_sweepers_mend_a_row_once(sessions: Sessions, new_job: NewJob, run_id: RunId) -> None:
    ids = [run_id(new_job(), Stage.FINETUNE_TEACHER) for _ in range(3)]
    for found in ids:
        claim(sessions, found)
        age(sessions, found, 61)
    results = together(lambda: sweep(sessions), lambda: sweep(sessions))
    assert sorted(run for _, messages in results for run, _ in messages) == ids


def publish(sessions: Sessions, job_id: str) -> int:
    with sessions.begin() as session:
        job = session.get_one(Job, job_id)
        return lifecycle.publish_version(session, job, kind="cnn", artefact_key=f"key-{job_id}", manifest={"labels": ["a", "b"]}).version


def test_versions_count_up_and_latest_follows(sessions: Sessions, new_job: NewJob, run_id: RunId) -> None:
    jobs = [new_job(), new_job()]
    with pytest.raises(lifecycle.JobStopped):
        publish(sessions, jobs[0])  # nothing of it runs
    for job_id in jobs:
        claim(sessions, run_id(job_id, Stage.FINETUNE_TEACHER))
    assert [publish(sessions, job_id) for job_id in jobs] == [1, 2]
    assert publish(sessions, jobs[0]) == 1
    with sessions() as session:
        assert session.get_one(Alias, ("triage", "latest")).version == 2
    assert event_types(sessions, jobs[0]).count("student_published") == 1


def test_two_jobs_that_publish_together_get_two_versions(sessions: Sessions, new_job: NewJob, run_id: RunId) -> None:
    jobs = [new_job(), new_job()]
    for job_id in jobs:
        claim(sessions, run_id(job_id, Stage.FINETUNE_TEACHER))
    versions = together(*(lambda job_id=job_id: publish(sessions, job_id) for job_id in jobs))  # type: ignore[misc]
    assert sorted(versions) == [1, 2]


def test_resume_goes_on_after_the_last_finished_stage(sessions: Sessions, new_job: NewJob, run_id: RunId, read_job: ReadJob) -> None:
    job_id = new_job()
    teacher, generator = run_id(job_id, Stage.FINETUNE_TEACHER), run_id(job_id, Stage.FINETUNE_GENERATOR)
    run_stage(sessions, teacher)
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
    run = claim(sessions, generator)
    assert run is not None
    assert run.attempt == 1
