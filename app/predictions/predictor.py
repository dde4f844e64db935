"""From a name and texts to predictions: what every protocol calls."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass
from functools import partial

from fastapi import Request

from app.config import Serving
from app.logs import carried
from app.predictions.admission import Admission
from app.predictions.batching import Batcher
from app.predictions.cache import StudentCache
from app.predictions.cascade import Cascade
from app.predictions.rates import Rates
from app.predictions.resolver import Resolver, Served
from app.predictions.runtime import BrokenStudent, StudentRuntime
from app.predictions.schemas import AnswerOptions, Prediction
from app.predictions.service import answer, ranked, scope_scores, score_threshold
from app.predictions.telemetry import Telemetry
from app.predictions.traffic import TrafficLog
from app.principals import current_principal
from app.students.service import broken_student
from app.students.shadow_stats import ShadowScorer

logger = logging.getLogger(__name__)

WARM_SECONDS = 0.4
"""That a name waits, at most, for the version it moves to; a version that takes longer is loaded while its first callers wait."""
_MANY = 200
"""Predictions that are put together in a thread."""


@dataclass(frozen=True, slots=True)
class Answer:
    """`served` gave the predictions, in the order of the texts; `threshold` is what it abstained below."""

    served: Served
    predictions: list[Prediction]
    threshold: float | None
    tokenize_seconds: float
    infer_seconds: float


class Predictor:
    """Everything of one application that serves. Used from one event loop at a time."""

    def __init__(self, settings: Serving, students: StudentCache, threads: int, redis_url: str) -> None:
        self.students = students
        self.admission = Admission(settings)
        self.telemetry = Telemetry(self.admission, students)
        self.traffic = TrafficLog(self.telemetry.counts)
        self.resolver = Resolver(settings.refresh_seconds, self._warm)
        self.shadows = ShadowScorer(lambda key, texts: [found.label for found in answer(students.get(key), texts, AnswerOptions())])
        # Apart from each other and from the threads of other routes: a database that is away must not keep students from being loaded.
        self._names = ThreadPoolExecutor(2, thread_name_prefix="names")
        self._loaders = ThreadPoolExecutor(4, thread_name_prefix="load")
        self._batcher = Batcher(threads, self.telemetry.called)
        self.cascade = Cascade(settings, self._loaders)
        self.rates = Rates(redis_url)
        self._loading: dict[str, asyncio.Future[StudentRuntime]] = {}

    async def answer(self, reference: str, texts: list[str], options: AnswerOptions) -> Answer:
        """`texts`: checked ones.

        Raises `ServiceError`: 404 unknown, 409 no teacher to escalate to, 422 malformed or no such threshold, 429 too much to do, or
        too much for the API key, 503 cannot be served.
        """
        began = time.perf_counter()
        if (principal := current_principal.get()) is not None:
            await self.rates.take(principal, len(texts))
        with self.admission.admitted(len(texts)):
            served = self.resolver.find(reference) or await self._look_up(reference)
            try:
                student = self.students.peek(served.key) or await self._load(served.key)
                threshold = score_threshold(student.manifest, options)
                if options.escalate:
                    await self.cascade.check(served, options)
                scored = await self._batcher.run(served.key, student, texts)
            except BrokenStudent as error:
                raise broken_student(served.name, served.version, served.key, error) from error
            scope = scope_scores(student.manifest, scored.probabilities, options)
            rank = partial(ranked, scored.probabilities, student.manifest.labels, options.top_k, threshold, scope)
            predictions = rank() if len(texts) < _MANY else await self._batcher.in_thread(rank)
        if options.counted:
            self.telemetry.answered(
                served.project, served.name, served.version, predictions, time.perf_counter() - began, scored.pieces, scored.unknown
            )
            self.shadows.observe(
                (served.project, served.name), served.version, texts, predictions, scored.tokenize_seconds + scored.infer_seconds
            )
        if options.escalate:
            predictions = await self.cascade.answer(served, student.manifest.labels, texts, predictions, options.top_k)
        return Answer(served, predictions, threshold, scored.tokenize_seconds, scored.infer_seconds)

    async def follow(self) -> None:
        """Reads names that have changed, as far as the database answers."""
        await asyncio.get_running_loop().run_in_executor(self._names, self.resolver.follow)

    def close(self) -> None:
        self.resolver.stop()
        self.shadows.stop()
        self.traffic.stop()
        self._batcher.close()
        for pool in (self._names, self._loaders):
            pool.shutdown(wait=False, cancel_futures=True)

    async def _load(self, key: str) -> StudentRuntime:
        # However many wait, one thread does.
        if (loading := self._loading.get(key)) is None:
            loading = self._loading[key] = asyncio.get_running_loop().run_in_executor(self._loaders, self.students.get, key)
            loading.add_done_callback(lambda _done: self._loading.pop(key, None))
        return await asyncio.shield(loading)

    async def _look_up(self, reference: str) -> Served:
        return await asyncio.get_running_loop().run_in_executor(self._names, carried(self.resolver.look_up), reference)

    def _warm(self, moved: dict[str, str]) -> None:
        hot = set(self.students.keys())
        wait([self._loaders.submit(self._try_load, new) for old, new in moved.items() if old in hot and new not in hot], WARM_SECONDS)

    def _try_load(self, key: str) -> None:
        try:
            self.students.get(key)
        except BrokenStudent as error:  # told to whoever asks for it
            logger.warning("artefact %s cannot be served: %s", key, error)


async def names_followed(request: Request) -> AsyncIterator[None]:
    """For routes that publish, delete or move aliases: once they have, predictions know, before the caller hears of it."""
    yield
    if request.method != "GET":
        predictor: Predictor = request.app.state.predictor
        await predictor.follow()
