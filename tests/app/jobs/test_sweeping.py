"""The sweeper: stages are taken from workers that are lost, and messages that were lost are sent again; on both databases.

Messages do not pile up while all workers are busy, as a real Redis tells.
"""

from datetime import timedelta

import pytest
import redis
from sqlalchemy import true, update

from app.config import Settings
from app.contracts.stages import Stage
from app.jobs.sweeping import complete_queues, sweep, waiting_by_queue
from app.queue import messages_waiting, producer, send_pending
from app.tables import StageRun, utcnow
from tests.app.jobs.transitions import NewJob, ReadJob, RunId, Sessions, cancel, claim, statuses
from tests.waiting import together

MINUTE = timedelta(seconds=60)


@pytest.fixture
def gpu_queue(service_env: Settings) -> redis.Redis:
    """A Redis without messages; those of the teachers' queue are seen in it."""
    producer.cache_clear()
    return redis.Redis.from_url(service_env.redis_url)


def age(sessions: Sessions, seconds: float, run_id: int | None = None) -> None:
    """Makes a stage run, or all of them, look as if nothing had been heard of them for so long."""
    which = StageRun.id == run_id if run_id is not None else true()
    with sessions.begin() as session:
        then = utcnow() - timedelta(seconds=seconds)
        session.execute(update(StageRun).where(which).values(heartbeat_at=then, queued_at=then))


def swept(sessions: Sessions) -> tuple[int, list[tuple[int, str]]]:
    """How many rows were mended, and the messages to send."""
    with sessions.begin() as session:
        mended = sweep(session, MINUTE, 2 * MINUTE, 2)
        return mended, list(session.info.get("pending_messages", []))


def test_sweep_gives_a_lost_stage_to_another_worker_and_gives_up_in_the_end(
    sessions: Sessions, new_job: NewJob, run_id: RunId, read_job: ReadJob
) -> None:
    job_id = new_job()
    teacher = run_id(job_id, Stage.FINETUNE_TEACHER)
    claim(sessions, teacher)
    assert swept(sessions) == (0, [])
    age(sessions, 61, teacher)
    assert swept(sessions) == (1, [(teacher, "gpu")])
    claim(sessions, teacher)
    age(sessions, 61, teacher)
    assert swept(sessions) == (1, [])
    job = read_job(job_id)
    assert job.status == "failed"
    assert job.error is not None
    assert job.error["type"] == "worker-lost"
    assert "worker-1" in job.error["detail"]
    assert job.error["remedy"]


def test_sweep_sends_a_forgotten_message_again_and_then_waits(sessions: Sessions, new_job: NewJob, run_id: RunId) -> None:
    job_id = new_job()
    teacher, label = run_id(job_id, Stage.FINETUNE_TEACHER), run_id(job_id, Stage.LABEL)
    age(sessions, 121, teacher)
    age(sessions, 121, label)  # pending: not to be sent
    assert swept(sessions) == (1, [(teacher, "gpu")])
    assert swept(sessions) == (0, [])


def test_sweep_ends_a_cancelled_job_whose_worker_died(sessions: Sessions, new_job: NewJob, run_id: RunId, read_job: ReadJob) -> None:
    job_id = new_job()
    teacher = run_id(job_id, Stage.FINETUNE_TEACHER)
    claim(sessions, teacher)
    cancel(sessions, job_id)
    age(sessions, 61, teacher)
    assert swept(sessions) == (1, [])
    job = read_job(job_id)
    assert job.finished_at is not None
    assert statuses(job)["finetune_teacher"] == "cancelled"


def test_two_sweepers_mend_a_row_once(sessions: Sessions, new_job: NewJob, run_id: RunId) -> None:
    ids = [run_id(new_job(), Stage.FINETUNE_TEACHER) for _ in range(3)]
    for found in ids:
        claim(sessions, found)
        age(sessions, 61, found)
    results = together(lambda: swept(sessions), lambda: swept(sessions))
    assert sorted(run for _, messages in results for run, _ in messages) == ids


def sweep_and_send(sessions: Sessions) -> int:
    with sessions() as session:
        waiting = waiting_by_queue(session)
    complete = complete_queues(waiting)
    with sessions.begin() as session:
        mended = sweep(session, MINUTE, MINUTE, 3, complete=complete)
    send_pending(session)
    return mended


def test_messages_that_wait_are_not_sent_again(sessions: Sessions, new_job: NewJob, gpu_queue: redis.Redis) -> None:
    for _ in range(3):
        new_job()
    age(sessions, 120)
    assert sweep_and_send(sessions) == 6  # the teachers and the generators, none of whose messages was sent
    assert gpu_queue.llen("gpu") == 6
    age(sessions, 120)
    assert sweep_and_send(sessions) == 0
    assert gpu_queue.llen("gpu") == 6


def test_messages_that_redis_lost_are_sent_again(sessions: Sessions, new_job: NewJob, gpu_queue: redis.Redis) -> None:
    for _ in range(3):
        new_job()
    age(sessions, 120)
    sweep_and_send(sessions)
    gpu_queue.lpop("gpu")
    age(sessions, 120)
    assert sweep_and_send(sessions) == 6  # which one it was cannot be told
    assert gpu_queue.llen("gpu") == 11


def test_an_absent_redis_holds_no_messages(clean_settings: pytest.MonkeyPatch) -> None:
    clean_settings.setenv("REDIS_URL", "redis://127.0.0.1:9/0")
    assert messages_waiting("gpu") == 0
