"""Timeouts that cost next to nothing as long as nobody is late."""

import asyncio

TICK_SECONDS = 1.0
"""How late a timeout may come, at most; a tenth of its time where that is less."""


class Deadlines:
    """One timer for all that wait: under uvloop, to set and cancel one for each request takes longer than a small student's answer.

        async with asyncio.timeout(None) as timeout:
            deadlines.watch(timeout, seconds)
            try:
                ...
            finally:
                deadlines.forget(timeout)

    raises `TimeoutError` as `asyncio.timeout(seconds)` does. Used from one event loop at a time.
    """

    def __init__(self) -> None:
        self._ends: dict[asyncio.Timeout, float] = {}
        self._loop: asyncio.AbstractEventLoop | None = None
        self._timer: asyncio.TimerHandle | None = None

    def watch(self, timeout: asyncio.Timeout, seconds: float) -> None:
        loop = asyncio.get_running_loop()
        self._ends[timeout] = loop.time() + seconds
        if self._timer is None or self._loop is not loop:
            self._loop, tick = loop, min(TICK_SECONDS, seconds / 10)
            self._timer = loop.call_later(tick, self._look, loop, tick)

    def forget(self, timeout: asyncio.Timeout) -> None:
        self._ends.pop(timeout, None)

    def _look(self, loop: asyncio.AbstractEventLoop, tick: float) -> None:
        now = loop.time()
        for late in [timeout for timeout, end in self._ends.items() if end <= now]:
            self.forget(late)
            late.reschedule(now)
        self._timer = loop.call_later(tick, self._look, loop, tick) if self._ends else None
