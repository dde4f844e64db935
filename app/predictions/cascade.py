"""Texts on which a student abstains, answered by its teacher where a worker holds that; else nothing changes."""

import asyncio
import logging
import time
import uuid
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import cast

import numpy as np
from numpy.typing import NDArray
from prometheus_client import Counter, Histogram
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from app.config import Serving, get_settings
from app.contracts.cascade import ANSWER_TYPE, KEPT_SECONDS, Ask, answer_key, asks_key, presence_key
from app.contracts.stages import Stage
from app.errors import FieldError, ServiceError
from app.predictions.resolver import Served
from app.predictions.schemas import AnswerOptions, Prediction
from app.predictions.service import ranked
from app.predictions.telemetry import LABELS
from app.storage import STORAGE_AWAY, get_storage

logger = logging.getLogger(__name__)

SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
MAX_REMEMBERED = 10_000


@dataclass(frozen=True, slots=True)
class _Answer:
    """`probabilities` (N, C), or None with the `outcome` that says why not."""

    outcome: str
    probabilities: NDArray[np.float64] | None = None


class Cascade:
    """Used from one event loop at a time. Has an admission of its own: who waits for a teacher keeps nobody from a student."""

    def __init__(self, settings: Serving, threads: Executor) -> None:
        self._settings, self._threads = settings, threads
        self._redis: Redis | None = None
        self._texts = self._chars = 0
        self._taught: dict[str, bool] = {}
        self._reading: dict[str, asyncio.Future[bool]] = {}
        self._away = False
        # For a registry to collect; of this process alone.
        self.texts = Counter(
            "gendistil_escalated_texts", "Abstained texts for a teacher, by what became of them.", (*LABELS, "outcome"), registry=None
        )
        self.seconds = Histogram(
            "gendistil_escalation_seconds", "A teacher's answer to one request, from asking on.", LABELS, buckets=SECONDS, registry=None
        )

    async def check(self, served: Served, options: AnswerOptions) -> None:
        """Raises `ServiceError`: 422 without a threshold, as nothing would be abstained from; 409 for a student without a teacher here."""
        if options.min_score is None and options.min_precision is None:
            detail, remedy = "without a threshold the student answers everything", "Send min_precision or min_score too."
            errors = [FieldError(column="escalate", detail=detail, remedy=remedy)]
            raise ServiceError(422, "invalid-request", f"escalate: {detail}", remedy=remedy, errors=errors)
        if not await self._is_taught(served.key):
            detail = f"The student {served.name}:{served.version} was imported: its teacher is not here."
            raise ServiceError(409, "no-teacher", detail, remedy="Leave out escalate, or name a version that a job of this service made.")

    async def answer(
        self, served: Served, labels: list[str], texts: list[str], predictions: list[Prediction], top_k: int
    ) -> list[Prediction]:
        """`predictions`, with the teacher's in place of those that were abstained from, as far as they came in time. Never raises."""
        places = [place for place, found in enumerate(predictions) if found.abstained]
        room = self._settings.escalate_texts - self._texts
        # Of a request that waits all texts stay in memory.
        chars = sum(map(len, texts))
        if self._chars and self._chars + chars > self._settings.max_body_bytes:
            room = 0
        chosen = places[: max(0, room)]
        self._count(served, "no_room", len(places) - len(chosen))
        if not chosen:
            return predictions
        self._texts, self._chars = self._texts + len(chosen), self._chars + chars
        began = time.perf_counter()
        try:
            answer = await self._ask(served.key, [texts[place] for place in chosen], len(labels))
        finally:
            self._texts, self._chars = self._texts - len(chosen), self._chars - chars
        self._count(served, answer.outcome, len(chosen))
        if answer.probabilities is None:
            return predictions
        self.seconds.labels(served.project, served.name, served.version).observe(time.perf_counter() - began)
        merged = list(predictions)
        for place, found in zip(chosen, ranked(answer.probabilities, labels, top_k, None), strict=True):
            found.answered_by, found.out_of_scope = "teacher", predictions[place].out_of_scope
            merged[place] = found
        return merged

    async def close(self) -> None:
        if self._redis is not None:
            redis, self._redis = self._redis, None
            await redis.aclose()

    async def _ask(self, key: str, texts: list[str], classes: int) -> _Answer:
        try:
            async with asyncio.timeout(self._settings.escalate_seconds):
                redis = self._client()
                async with redis.pipeline(transaction=False) as pipeline:
                    pipeline.exists(presence_key(key))
                    pipeline.time()
                    up, (seconds, microseconds) = await pipeline.execute()
                if not up:
                    return _Answer("nobody")
                until = seconds + microseconds / 1e6 + self._settings.escalate_seconds
                ask = Ask(id=uuid.uuid4().hex, texts=texts, until=until)
                async with redis.pipeline(transaction=True) as pipeline:
                    pipeline.rpush(asks_key(key), ask.model_dump_json())
                    pipeline.expire(asks_key(key), KEPT_SECONDS)
                    await pipeline.execute()
                _, content = cast(tuple[bytes, bytes], await redis.blpop([answer_key(ask.id)], timeout=0))
        except TimeoutError:
            return _Answer("late")
        except (RedisError, OSError) as error:
            if not self._away:
                logger.warning("no text is escalated: %s", error)
            self._away = True
            return _Answer("failed")
        self._away = False
        return _read(content, len(texts), classes)

    def _client(self) -> Redis:
        if self._redis is None:
            # A request has one connection while it waits. Tried again, it would only come later.
            self._redis = Redis.from_url(
                get_settings().redis_url, max_connections=self._settings.escalate_texts, retry=Retry(NoBackoff(), 0), socket_timeout=None
            )
        return self._redis

    def _count(self, served: Served, outcome: str, texts: int) -> None:
        if texts:
            self.texts.labels(served.project, served.name, served.version, outcome).inc(texts)

    async def _is_taught(self, key: str) -> bool:
        """Whether a job made it here. Unknown while the store is away or slow, and then no reason to refuse."""
        if (known := self._taught.get(key)) is not None:
            return known
        # However many wait, one thread reads.
        if (reading := self._reading.get(key)) is None:
            reading = self._reading[key] = asyncio.get_running_loop().run_in_executor(self._threads, self._read_taught, key)
            reading.add_done_callback(lambda _done: self._reading.pop(key, None))
        done, _ = await asyncio.wait([reading], timeout=self._settings.escalate_seconds)
        return reading.result() if done else True

    def _read_taught(self, key: str) -> bool:
        try:
            manifest = get_storage().manifest(key)
        except (OSError, *STORAGE_AWAY):
            return True
        if manifest is None:
            return True
        if len(self._taught) >= MAX_REMEMBERED:
            self._taught.clear()
        taught = self._taught[key] = Stage.FINETUNE_TEACHER in manifest.inputs
        return taught


def _read(content: bytes, texts: int, classes: int) -> _Answer:
    if len(content) != texts * classes * np.dtype(ANSWER_TYPE).itemsize:
        return _Answer("failed")
    probabilities = np.frombuffer(content, ANSWER_TYPE).astype(np.float64).reshape(texts, classes)
    return _Answer("answered", probabilities) if np.isfinite(probabilities).all() else _Answer("failed")
