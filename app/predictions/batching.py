"""Texts of many requests, run through a student together where that is cheaper.

A call into onnxruntime costs as much as several short texts. So single texts that arrive in one turn of the event loop go in one call:
nobody waits for a timer, and under load the batches grow by themselves. What takes long runs in threads, in parts, so that neither the
event loop nor a large request keeps the others waiting.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from app.predictions.runtime import StudentRuntime

SMALL = 8
"""Texts of a request that may share its call with others."""
MAX_SHARED = 64
INLINE_SECONDS = 0.004
"""Of work on the event loop itself: a thread costs some 0.1 ms for the way there and back, and more while others use the cores."""
PART_SECONDS = 0.03
MAX_LANES = 2000

Probabilities = NDArray[np.float64]
Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Scored:
    """`probabilities` (N, C) in the order of the texts; seconds of the call that it was part of.

    `pieces` that were read, `unknown` among them: of the whole call, and told to the first of the requests that shared it.
    """

    probabilities: Probabilities
    tokenize_seconds: float
    infer_seconds: float
    pieces: int = 0
    unknown: int = 0


@dataclass(frozen=True, slots=True)
class _Request:
    student: StudentRuntime
    texts: list[str]
    answer: "asyncio.Future[Scored]"


@dataclass(slots=True)
class _Lane:
    """The requests to one student."""

    waiting: deque[_Request] = field(default_factory=deque)
    due: bool = False
    busy: bool = False
    seconds_per_text: float = 0.0
    """A moving average, of which the first call, before everything is warm, is no part."""

    def learn(self, texts: int, seconds: float) -> None:
        self.seconds_per_text += 0.1 * (seconds / texts - self.seconds_per_text)


class Batcher:
    """Used from one event loop at a time. `observe` is told the number of texts of each call."""

    def __init__(self, threads: int, observe: Callable[[int], None] = lambda _texts: None) -> None:
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="predict")
        self._observe = observe
        self._lanes: dict[str, _Lane] = {}

    async def run(self, key: str, student: StudentRuntime, texts: list[str]) -> Scored:
        """Raises what the student raises. `key` tells students apart."""
        lane = self._lane(key)
        if len(texts) > SMALL:
            return await self._in_parts(lane, student, texts)
        request = _Request(student, texts, asyncio.get_running_loop().create_future())
        lane.waiting.append(request)
        self._continue(lane)
        return await request.answer

    async def in_thread(self, call: Callable[[], Result]) -> Result:
        return await asyncio.get_running_loop().run_in_executor(self._pool, call)

    def close(self) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _lane(self, key: str) -> _Lane:
        if (lane := self._lanes.get(key)) is None:
            if len(self._lanes) >= MAX_LANES:
                self._lanes = {known: lane for known, lane in self._lanes.items() if lane.waiting or lane.busy}
            lane = self._lanes[key] = _Lane()
        return lane

    async def _in_parts(self, lane: _Lane, student: StudentRuntime, texts: list[str]) -> Scored:
        # One part at a time: between two of them, the pool takes those of other requests.
        parts: list[Scored] = []
        start = 0
        while start < len(texts):
            size = min(max(int(PART_SECONDS / max(lane.seconds_per_text, 1e-6)), 32), 512)
            part = texts[start : start + size]
            scored = await asyncio.get_running_loop().run_in_executor(self._pool, score, student, part)
            lane.learn(len(part), scored.tokenize_seconds + scored.infer_seconds)
            self._observe(len(part))
            parts.append(scored)
            start += size
        return Scored(
            np.concatenate([part.probabilities for part in parts]),
            sum(part.tokenize_seconds for part in parts),
            sum(part.infer_seconds for part in parts),
            sum(part.pieces for part in parts),
            sum(part.unknown for part in parts),
        )

    def _flush(self, lane: _Lane) -> None:
        lane.due = False
        if lane.busy or not lane.waiting:
            return
        batch: list[_Request] = []
        texts: list[str] = []
        while lane.waiting and len(texts) + len(lane.waiting[0].texts) <= MAX_SHARED:
            batch.append(lane.waiting.popleft())
            texts += batch[-1].texts
        student = batch[-1].student
        if lane.seconds_per_text * len(texts) > INLINE_SECONDS:
            lane.busy = True
            running = asyncio.get_running_loop().run_in_executor(self._pool, score, student, texts)
            running.add_done_callback(lambda done: self._finish(lane, batch, done))
            return
        self._deliver(lane, batch, partial(score, student, texts))
        self._continue(lane)

    def _finish(self, lane: _Lane, batch: list[_Request], done: "asyncio.Future[Scored]") -> None:
        lane.busy = False
        self._deliver(lane, batch, done.result)
        self._continue(lane)

    def _continue(self, lane: _Lane) -> None:
        if lane.waiting and not lane.due:
            lane.due = True
            asyncio.get_running_loop().call_soon(self._flush, lane)

    def _deliver(self, lane: _Lane, batch: list[_Request], result: Callable[[], Scored]) -> None:
        try:
            scored = result()
        except Exception as error:  # whatever it is, it belongs to those who wait; raised here, it would leave them waiting for ever
            self._fail(lane, batch, error)
            return
        size = len(scored.probabilities)
        lane.learn(size, scored.tokenize_seconds + scored.infer_seconds)
        self._observe(size)
        start, pieces, unknown = 0, scored.pieces, scored.unknown
        for request in batch:
            end = start + len(request.texts)
            if not request.answer.done():  # its caller may have gone
                part = scored.probabilities[start:end]
                request.answer.set_result(Scored(part, scored.tokenize_seconds, scored.infer_seconds, pieces, unknown))
                pieces = unknown = 0
            start = end

    def _fail(self, lane: _Lane, batch: list[_Request], error: Exception) -> None:
        if len(batch) == 1:
            if not batch[0].answer.done():
                batch[0].answer.set_exception(error)
            return
        for request in batch:  # one text at fault must not fail the others
            self._deliver(lane, [request], partial(score, request.student, request.texts))


def score(student: StudentRuntime, texts: list[str]) -> Scored:
    began = time.perf_counter()
    pieces = student.encode(texts)
    encoded = time.perf_counter()
    probabilities = student.infer(pieces)
    done = time.perf_counter()
    return Scored(probabilities, encoded - began, done - encoded, len(pieces.ids), student.count_unknown(pieces))
