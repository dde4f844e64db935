"""`python -m workers.teacher --students triage`: answers for students that abstain, with the teachers that they were distilled from.

Plain lists in Redis, and not Celery's tasks: those would need a result backend, know nothing of batches, and answer in a thread that
waits.
"""

import argparse
import logging
import os
import signal
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from types import FrameType
from typing import cast

import numpy as np
import redis
import torch
from pydantic import ValidationError
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry
from sqlalchemy.exc import SQLAlchemyError

from app.config import get_settings
from app.contracts.cascade import ANSWER_TYPE, KEPT_SECONDS, PRESENCE_SECONDS, Ask, answer_key, asks_key, presence_key
from app.contracts.projects import DEFAULT_PROJECT
from app.database import read_session_factory
from app.errors import ServiceError
from app.logs import QUIET
from app.ownership import in_project
from app.storage import BlobStore, get_storage
from app.students.service import find_student
from workers.logs import configure_worker_logging
from workers.runner import worker_name
from workers.teacher_models import NoTeacher, StandIn, TeacherLoader

logger = logging.getLogger(__name__)

FOLLOW_SECONDS = 2.0
"""How often it is asked which versions the names mean."""
WAIT_SECONDS = 1.0
_IDLE_SECONDS = 0.1
MAX_TEXTS = 64
"""Texts, more or less, that are answered together."""


class TeacherWorker:
    """Holds the teachers of the versions that `references` (`name`, `name@alias`, `name:version`) mean at the time.

    `project/name` is a name of another project than `default`.
    """

    def __init__(self, references: Sequence[str], storage: BlobStore, redis_url: str) -> None:
        self._references, self._loader = references, TeacherLoader(storage)
        self._redis = redis.Redis.from_url(redis_url, retry=Retry(NoBackoff(), 0), socket_connect_timeout=3, socket_timeout=10)
        self._held: dict[str, StandIn] = {}
        self._shown: dict[str, StandIn] = {}
        self._shown_at = float("-inf")
        self._turn = 0
        self._told: dict[str, str] = {}

    def run(self, stop: threading.Event) -> None:
        """Until `stop` is set; what was taken by then is answered. Redis, database and store may be away meanwhile."""
        # Apart, because a database that hangs or a new teacher that is large must not keep the others from answering.
        follower = threading.Thread(target=self._keep_following, args=(stop,), name="follower", daemon=True)
        follower.start()
        away = False
        try:
            while not stop.is_set():
                try:
                    self._serve(stop)
                    away = False
                except RedisError as error:
                    if not away:
                        logger.warning("nothing can be answered: %s", error)
                    away = True
                    stop.wait(WAIT_SECONDS)
        finally:
            with suppress(RedisError):  # another worker that holds the same says so again
                for key in self._shown:
                    self._redis.delete(presence_key(key))
            self._redis.close()
            follower.join(WAIT_SECONDS)

    def _serve(self, stop: threading.Event) -> None:
        """Answers one batch, or waits a second for it in vain. Raises `RedisError`."""
        held = self._held
        self._show(held)
        if not held:
            stop.wait(_IDLE_SECONDS)
            return
        # The first list that holds something is taken from, so each is the first in its turn.
        self._turn = (self._turn + 1) % len(held)
        by_list = {asks_key(key).encode(): stand_in for key, stand_in in held.items()}
        lists = list(by_list)
        ordered = lists[self._turn :] + lists[: self._turn]
        taken = cast(tuple[bytes, bytes] | None, self._redis.blpop(ordered, timeout=WAIT_SECONDS))
        if taken is not None:
            found, first = taken
            self._answer(by_list[found], self._batch(found, first))

    def _show(self, held: dict[str, StandIn]) -> None:
        """Says which teachers are here, in the thread that answers: one that is stuck says nothing."""
        if held is self._shown and time.monotonic() - self._shown_at < PRESENCE_SECONDS / 4:
            return
        pipeline = self._redis.pipeline(transaction=False)
        for key in self._shown.keys() - held.keys():
            pipeline.delete(presence_key(key))
        for key in held:
            pipeline.set(presence_key(key), worker_name(), px=round(PRESENCE_SECONDS * 1000))
        pipeline.execute()
        self._shown, self._shown_at = held, time.monotonic()

    def _batch(self, queue: bytes, first: bytes) -> list[Ask]:
        """What is still waited for, of this and what else is in the list."""
        seconds, microseconds = self._redis.time()
        now = seconds + microseconds / 1e6
        asks: list[Ask] = []
        content: bytes | None = first
        while content is not None:
            try:
                ask = Ask.model_validate_json(content)
                if ask.until > now:
                    asks.append(ask)
            except ValidationError as error:
                logger.warning("what was asked cannot be read: %s", error.errors(include_input=False)[0]["msg"])
            content = cast(bytes | None, self._redis.lpop(queue)) if sum(len(ask.texts) for ask in asks) < MAX_TEXTS else None
        return asks

    def _answer(self, stand_in: StandIn, asks: list[Ask]) -> None:
        if not asks:
            return
        try:
            found = stand_in.probabilities([text for ask in asks for text in ask.texts]).astype(ANSWER_TYPE)
            answers = [rows.tobytes() for rows in np.split(found, np.cumsum([len(ask.texts) for ask in asks])[:-1])]
        # Out of memory, or whatever else: who waits is told, and others may fare better.
        except Exception:
            logger.exception("%s texts could not be answered", sum(len(ask.texts) for ask in asks), extra=QUIET)
            answers = [b""] * len(asks)
        pipeline = self._redis.pipeline(transaction=True)
        for ask, answer in zip(asks, answers, strict=True):
            pipeline.rpush(answer_key(ask.id), answer)
            pipeline.expire(answer_key(ask.id), KEPT_SECONDS)
        pipeline.execute()

    def _keep_following(self, stop: threading.Event) -> None:
        while True:
            try:
                wanted = self._wanted()
            except SQLAlchemyError as error:
                self._tell("database", f"away, so the versions stay: {error}")
            else:
                self._told.pop("database", None)
                self._hold(wanted)
            if stop.wait(FOLLOW_SECONDS):
                return

    def _hold(self, wanted: dict[str, str]) -> None:
        """What cannot be loaded is told once, and tried again."""
        found = {key: stand_in for reference, key in wanted.items() if (stand_in := self._stand_in(reference, key)) is not None}
        if found.keys() != self._held.keys():
            self._held = found
            self._loader.keep(list(found.values()))

    def _wanted(self) -> dict[str, str]:
        """Artefact keys by reference. Raises `SQLAlchemyError`."""
        wanted: dict[str, str] = {}
        with read_session_factory()() as session:
            for reference in self._references:
                project, slash, name = reference.rpartition("/")
                try:
                    with in_project(project if slash else DEFAULT_PROJECT):
                        wanted[reference] = find_student(session, name).artefact_key
                except ServiceError as error:
                    self._tell(reference, error.problem.detail)
        return wanted

    def _stand_in(self, reference: str, key: str) -> StandIn | None:
        if (loaded := self._held.get(key)) is not None:
            self._told.pop(reference, None)
            return loaded
        try:
            loaded = self._loader.load(key)
        except NoTeacher as error:
            self._tell(reference, f"has no teacher: {error}")
        except Exception as error:  # files, torch and the store fail in many ways; the others are to be answered all the same
            self._tell(reference, f"its teacher cannot be loaded: {error}")
        else:
            self._told.pop(reference, None)
            logger.info("holds the teacher of %s, artefact %s", reference, key)
            return loaded
        return None

    def _tell(self, what: str, message: str) -> None:
        if self._told.get(what) != message:
            logger.warning("%s: %s", what, message)
            self._told[what] = message


def main() -> None:
    parser = argparse.ArgumentParser(description="Answers for students that abstain, with their teachers.")
    parser.add_argument("--students", required=True, help="comma between: name, name@alias or name:version")
    references = [name.strip() for name in parser.parse_args().students.split(",") if name.strip()]
    if not references:
        parser.error("--students names none")
    configure_worker_logging()
    stop = threading.Event()

    def handle(_number: int, _frame: FrameType | None) -> None:
        stop.set()

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, handle)
    settings = get_settings()
    torch.set_num_threads(settings.worker.threads or len(os.sched_getaffinity(0)))
    logger.info("answers for %s, %s torch threads", ", ".join(references), torch.get_num_threads())
    TeacherWorker(references, get_storage(), settings.redis_url).run(stop)


if __name__ == "__main__":
    main()
