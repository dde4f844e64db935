"""Messages are sent again if they were lost, and do not pile up while all workers are busy; on both databases, with a real Redis."""

from collections.abc import Callable
from datetime import timedelta

import pytest
import redis
from sqlalchemy import update
from sqlalchemy.orm import Session, sessionmaker

from app.config import Settings
from app.contracts.stages import StageStatus
from app.jobs.sweeping import complete_queues, sweep, waiting_by_queue
from app.queue import messages_waiting, producer, send_pending
from app.tables import StageRun, utcnow

Sessions = sessionmaker[Session]
NewJob = Callable[..., str]
MINUTE = timedelta(seconds=60)


@pytest.fixture
def gpu_queue(service_env: Settings) -> redis.Redis:
    """A Redis without messages; those of the teachers' queue are seen in it."""
    producer.cache_clear()
    return redis.Redis.from_url(service_env.redis_url)


def age(sessions: Sessions) -> None:
    """Makes all that is queued wait for longer than a message takes."""
    with sessions.begin() as session:
        session.execute(update(StageRun).where(StageRun.status == StageStatus.QUEUED).values(queued_at=utcnow() - 2 * MINUTE))


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
    age(sessions)
    assert sweep_and_send(sessions) == 6  # the teachers and the generators, none of whose messages was sent
    assert gpu_queue.llen("gpu") == 6
    age(sessions)
    assert sweep_and_send(sessions) == 0
    assert gpu_queue.llen("gpu") == 6


def test_messages_that_redis_lost_are_sent_again(sessions: Sessions, new_job: NewJob, gpu_queue: redis.Redis) -> None:
    for _ in range(3):
        new_job()
    age(sessions)
    sweep_and_send(sessions)
    gpu_queue.lpop("gpu")
    age(sessions)
    assert sweep_and_send(sessions) == 6  # which one it was cannot be told
    assert gpu_queue.llen("gpu") == 11


def test_an_absent_redis_holds_no_messages(clean_settings: pytest.MonkeyPatch) -> None:
    clean_settings.setenv("REDIS_URL", "redis://127.0.0.1:9/0")
    assert messages_waiting("gpu") == 0
