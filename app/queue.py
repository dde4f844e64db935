"""Enqueue after commit: a message may only speak of rows that every other process can see."""

import logging
from functools import lru_cache

import redis
from celery import Celery
from kombu.exceptions import OperationalError
from redis.exceptions import RedisError
from sqlalchemy.orm import Session

from app.config import get_settings
from app.contracts.bulk import BULK_QUEUE, RUN_BULK_TASK
from app.contracts.stages import GRAPH, RUN_STAGE_TASK, Stage

logger = logging.getLogger(__name__)
_PENDING = "pending_messages"
_PENDING_BULK = "pending_bulk_messages"


@lru_cache
def producer() -> Celery:
    """A Celery application that only sends; tasks are known by name alone, so that the API never imports the workers."""
    celery = Celery("gendistil", broker=get_settings().redis_url)
    celery.conf.update(
        task_ignore_result=True,
        broker_connection_retry_on_startup=True,
        broker_transport_options={"socket_connect_timeout": 3, "socket_timeout": 10},
    )
    return celery


def queue_of(stage: Stage) -> str:
    """The queue whose workers run the stage: as the settings say, else as the stage graph does."""
    return get_settings().queues.get(stage, GRAPH[stage].queue)


def enqueue(session: Session, stage_run_id: int, stage: Stage) -> None:
    """Notes a message that `send_pending` sends once the session's transaction has been committed."""
    session.info.setdefault(_PENDING, []).append((stage_run_id, queue_of(stage)))


def enqueue_bulk(session: Session, bulk_id: str) -> None:
    """As `enqueue`, of a bulk prediction."""
    session.info.setdefault(_PENDING_BULK, []).append(bulk_id)


def send_pending(session: Session) -> None:
    """Sends the noted messages. Redis being away is no error: the row is the truth, and the sweeper sends the message again."""
    for stage_run_id, queue in session.info.pop(_PENDING, []):
        _send(RUN_STAGE_TASK, stage_run_id, queue)
    for bulk_id in session.info.pop(_PENDING_BULK, []):
        _send(RUN_BULK_TASK, bulk_id, BULK_QUEUE)


def _send(task: str, id: int | str, queue: str) -> None:
    try:
        producer().send_task(task, args=[id], queue=queue, retry=False)
    except OperationalError as error:
        logger.warning("message %s(%s) not sent, the sweeper will: %s", task, id, error)


def messages_waiting(queue: str) -> int:
    """Messages that no worker has taken yet; 0 if Redis does not answer."""
    try:
        with redis.Redis.from_url(get_settings().redis_url, socket_connect_timeout=3, socket_timeout=10) as connection:
            return int(connection.llen(queue))
    except RedisError:
        return 0
