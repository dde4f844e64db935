"""Stages in shards, stages made again, and stages that wait before they are tried again; on both databases."""

from datetime import timedelta
from typing import Any

from sqlalchemy import select

from app.contracts.stages import Stage, StageStatus
from app.jobs import lifecycle, sweeping
from app.jobs.service import get_job, resume
from app.jobs.sharding import rebuild, shard_stage
from app.jobs.views import job_out
from app.tables import StageRun, utcnow
from tests.app.jobs.transitions import ERROR, NewJob, ReadJob, RunId, Sessions, attempt, cancel, claim, event_types, finish

NOW = timedelta(0)


def shard(sessions: Sessions, run_id: int, sizes: dict[int, float]) -> list[tuple[int, str]]:
    """Claims a stage and cuts it; returns the messages to send."""
    number = attempt(sessions, run_id)
    assert number is not None
    with sessions.begin() as session:
        assert shard_stage(session, run_id, number, sizes, of=3)
        return list(session.info["pending_messages"])


def shards(sessions: Sessions, job_id: str) -> list[StageRun]:
    with sessions() as session:
        return list(session.scalars(select(StageRun).where(StageRun.job_id == job_id, StageRun.shard > 0).order_by(StageRun.shard)))


def sharded(sessions: Sessions, new_job: NewJob, run_id: RunId) -> tuple[str, int, list[int]]:
    """A job whose generate stage waits for three shards: its id, the stage's run, the shards' runs."""
    job_id = new_job()
    finish(sessions, run_id(job_id, Stage.FINETUNE_GENERATOR))
    whole = run_id(job_id, Stage.GENERATE)
    shard(sessions, whole, {1: 10, 2: 10, 3: 8})
    return job_id, whole, [run.id for run in shards(sessions, job_id)]


def test_progress_does_not_jump_when_a_further_shard_starts(sessions: Sessions, new_job: NewJob, run_id: RunId) -> None:
    """Its first heartbeats come before it knows what there is to do."""
    job_id, _, (first, second, _) = sharded(sessions, new_job, run_id)

    def shown() -> tuple[float, float]:
        with sessions() as session:
            (found,) = (stage.progress for stage in job_out(get_job(session, job_id), {}).stages if stage.name == Stage.GENERATE)
        return found.done, found.total

    for run, done in ((first, 4), (second, 3)):
        before = shown()
        assert attempt(sessions, run) == 1
        for beat, now in (((0.0, 0.0), before), ((done, 10.0), (before[0] + done, 28))):
            with sessions.begin() as session:
                assert lifecycle.heartbeat(session, run, 1, *beat, "texts")
            assert shown() == now


def test_a_stage_waits_for_its_shards_and_is_then_queued_once(
    sessions: Sessions, new_job: NewJob, run_id: RunId, read_job: ReadJob
) -> None:
    job_id = new_job()
    finish(sessions, run_id(job_id, Stage.FINETUNE_GENERATOR))
    whole = run_id(job_id, Stage.GENERATE)
    sent = shard(sessions, whole, {1: 10, 2: 10, 3: 8})
    runs = shards(sessions, job_id)
    assert sent == [(run.id, "gpu") for run in runs]
    assert [(run.shard, run.status, run.progress_total) for run in runs] == [(1, "queued", 10), (2, "queued", 10), (3, "queued", 8)]
    assert claim(sessions, whole) is None
    assert finish(sessions, runs[0].id, artefact_key="first") == []
    finish(sessions, run_id(job_id, Stage.FINETUNE_TEACHER))  # another stage's end does not wake it
    assert read_job(job_id).stages[2].status == StageStatus.SHARDED
    assert finish(sessions, runs[2].id, artefact_key="third") == []
    assert finish(sessions, runs[1].id, artefact_key="second") == [(whole, "gpu")]
    assert finish(sessions, whole, artefact_key="whole") == [(run_id(job_id, Stage.LABEL), "gpu")]
    stage = read_job(job_id).stages[2]
    assert (stage.status, stage.attempt, stage.artefact_key) == (StageStatus.SUCCEEDED, 1, "whole")
    assert stage.started_at == min(run.started_at for run in shards(sessions, job_id) if run.started_at)
    assert [run.artefact_key for run in shards(sessions, job_id)] == [None] * 3  # nothing holds on to them any more


def test_a_caller_sees_one_running_stage_with_the_progress_of_its_shards(sessions: Sessions, new_job: NewJob, run_id: RunId) -> None:
    job_id, _, runs = sharded(sessions, new_job, run_id)
    finish(sessions, runs[0])
    claim(sessions, runs[1])
    with sessions.begin() as session:
        assert lifecycle.heartbeat(session, runs[1], 1, 4, 10, "texts")
    with sessions() as session:
        job = job_out(get_job(session, job_id), {})
    assert len(job.stages) == 6
    stage = job.stages[2]
    assert (stage.status, stage.attempt) == (StageStatus.RUNNING, 1)
    assert (stage.progress.done, stage.progress.total) == (14, 28)
    assert stage.shards is not None
    assert (stage.shards.done, stage.shards.total) == (1, 3)
    assert stage.seconds is not None


def test_a_shard_that_fails_for_good_fails_stage_and_job(sessions: Sessions, new_job: NewJob, run_id: RunId, read_job: ReadJob) -> None:
    job_id, _, runs = sharded(sessions, new_job, run_id)
    assert attempt(sessions, runs[0]) == 1
    assert attempt(sessions, runs[1]) == 1
    with sessions.begin() as session:
        assert lifecycle.fail_stage(session, runs[0], 1, ERROR, retry=False, max_attempts=3)
    job = read_job(job_id)
    assert (job.status, job.error) == ("failed", {**ERROR, "stage": "generate"})
    assert (job.stages[2].status, job.stages[2].error) == ("failed", ERROR)
    assert [run.status for run in shards(sessions, job_id)] == ["failed", "running", "cancelled"]
    with sessions.begin() as session:
        assert not lifecycle.heartbeat(session, runs[1], 2, 1, 2, "texts")
        assert lifecycle.release_stage(session, runs[1], 1)
    with sessions.begin() as session:
        resume(session, job_id)
    assert shards(sessions, job_id) == []
    assert read_job(job_id).stages[2].status == "queued"


def test_a_cancelled_job_waits_for_the_shards_that_run(sessions: Sessions, new_job: NewJob, run_id: RunId, read_job: ReadJob) -> None:
    job_id, _, runs = sharded(sessions, new_job, run_id)
    claim(sessions, runs[0])
    cancel(sessions, job_id)
    assert read_job(job_id).finished_at is None
    assert [run.status for run in shards(sessions, job_id)] == ["running", "cancelled", "cancelled"]
    with sessions.begin() as session:
        assert lifecycle.cancel_running(session, runs[0], 1)
    job = read_job(job_id)
    assert job.finished_at is not None
    assert job.stages[2].status == "cancelled"


def test_a_shard_that_was_lost_is_queued_again_beside_those_under_way(sessions: Sessions, new_job: NewJob, run_id: RunId) -> None:
    job_id, whole, runs = sharded(sessions, new_job, run_id)
    for run in runs:
        finish(sessions, run)
    sent = shard(sessions, whole, {2: 10})
    assert sent == [(runs[1], "gpu")]
    assert [run.status for run in shards(sessions, job_id)] == ["succeeded", "queued", "succeeded"]
    assert finish(sessions, runs[1]) == [(whole, "gpu")]


def test_a_damaged_artefact_is_made_again_and_its_finder_goes_on(
    sessions: Sessions, new_job: NewJob, run_id: RunId, read_job: ReadJob
) -> None:
    job_id = new_job()
    teacher, generator, generate, label = (
        run_id(job_id, stage) for stage in (Stage.FINETUNE_TEACHER, Stage.FINETUNE_GENERATOR, Stage.GENERATE, Stage.LABEL)
    )
    for run in (teacher, generator, generate):
        finish(sessions, run)
    assert attempt(sessions, label) == 1
    with sessions.begin() as session:
        assert rebuild(session, label, 1, (Stage.FINETUNE_TEACHER,), ERROR, max_attempts=3)
        assert session.info["pending_messages"] == [(teacher, "gpu")]
    job = read_job(job_id)
    assert [run.status for run in job.stages[:4]] == ["queued", "succeeded", "succeeded", "pending"]
    assert job.stages[0].artefact_key is None
    assert finish(sessions, teacher) == [(label, "gpu")]
    assert attempt(sessions, label) == 2
    with sessions.begin() as session:
        assert rebuild(session, label, 2, (Stage.FINETUNE_TEACHER,), ERROR, max_attempts=3)
    finish(sessions, teacher)
    assert attempt(sessions, label) == 3
    with sessions.begin() as session:  # a store that damages everything
        assert rebuild(session, label, 3, (Stage.FINETUNE_TEACHER,), ERROR, max_attempts=3)
    assert read_job(job_id).status == "failed"
    assert event_types(sessions, job_id).count("stage_rebuilt") == 2


def test_a_shard_that_finds_damage_sends_its_stage_back(sessions: Sessions, new_job: NewJob, run_id: RunId, read_job: ReadJob) -> None:
    job_id, whole, runs = sharded(sessions, new_job, run_id)
    finish(sessions, runs[0])
    assert attempt(sessions, runs[1]) == 1
    with sessions.begin() as session:
        assert rebuild(session, runs[1], 1, (Stage.FINETUNE_GENERATOR,), ERROR, max_attempts=3)
    assert [run.status for run in read_job(job_id).stages[1:3]] == ["queued", "pending"]
    generator = run_id(job_id, Stage.FINETUNE_GENERATOR)
    assert finish(sessions, generator) == [(whole, "gpu")]
    sent = shard(sessions, whole, {2: 10, 3: 8})  # the first is there
    assert len(sent) == 1  # the third still waits in its queue
    assert [(run.shard, run.status) for run in shards(sessions, job_id)] == [(1, "succeeded"), (2, "queued"), (3, "queued")]


def test_a_shard_whose_inputs_are_made_again_is_not_to_be_had(sessions: Sessions, new_job: NewJob, run_id: RunId) -> None:
    job_id, whole, runs = sharded(sessions, new_job, run_id)
    generator = run_id(job_id, Stage.FINETUNE_GENERATOR)
    assert attempt(sessions, runs[0]) == 1
    assert attempt(sessions, runs[1]) == 1
    with sessions.begin() as session:
        assert rebuild(session, runs[1], 1, (Stage.FINETUNE_GENERATOR,), ERROR, max_attempts=3)
    with sessions.begin() as session:
        assert lifecycle.release_stage(session, runs[0], 1)  # its worker stops
    assert claim(sessions, runs[0]) is None
    assert claim(sessions, runs[2]) is None
    assert shards(sessions, job_id) == []
    assert finish(sessions, generator) == [(whole, "gpu")]
    assert len(shard(sessions, whole, {1: 12, 2: 10, 3: 8})) == 3


def test_a_retry_waits_and_the_sweeper_sends_it(sessions: Sessions, new_job: NewJob, run_id: RunId, read_job: ReadJob) -> None:
    job_id = new_job()
    teacher = run_id(job_id, Stage.FINETUNE_TEACHER)
    claim(sessions, teacher)
    delay, before = timedelta(seconds=30), utcnow()
    with sessions.begin() as session:
        assert lifecycle.fail_stage(session, teacher, 1, ERROR, retry=True, max_attempts=9, delay=delay, shrink=True)
        assert "pending_messages" not in session.info
    run = read_job(job_id).stages[0]
    assert run.not_before is not None
    assert before + delay <= run.not_before <= utcnow() + delay
    assert run.shrink == 2
    assert claim(sessions, teacher) is None
    assert sweep(sessions) == []
    with sessions.begin() as session:
        session.get_one(StageRun, teacher).not_before = utcnow() - timedelta(seconds=1)
    assert sweep(sessions) == [(teacher, "gpu")]
    assert sweep(sessions) == []
    assert attempt(sessions, teacher) == 2
    before = utcnow()
    with sessions.begin() as session:
        assert lifecycle.fail_stage(session, teacher, 2, ERROR, retry=True, max_attempts=9, delay=delay, shrink=True)
    run = read_job(job_id).stages[0]
    assert run.not_before is not None
    assert before + 2 * delay <= run.not_before <= utcnow() + 2 * delay
    assert run.shrink == 4


def sweep(sessions: Sessions) -> list[Any]:
    """The messages that a sweep sends, of stages that were queued long ago or whose delay is over."""
    with sessions.begin() as session:
        sweeping.sweep(session, timedelta(hours=1), timedelta(hours=1), 3, NOW)
        return list(session.info.get("pending_messages", []))
