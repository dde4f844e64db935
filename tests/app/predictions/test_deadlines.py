"""Timeouts that share one timer."""

import asyncio
import time
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
import uvloop

from app.predictions.deadlines import Deadlines

Run = Callable[[Coroutine[Any, Any, None]], None]


@pytest.fixture(params=[asyncio.run, uvloop.run], ids=["asyncio", "uvloop"])
def run(request: pytest.FixtureRequest) -> Run:
    found: Run = request.param
    return found


async def waited(deadlines: Deadlines, limit: float, seconds: float) -> bool:
    """Whether to wait so long was within the limit."""
    try:
        async with asyncio.timeout(None) as timeout:
            deadlines.watch(timeout, limit)
            try:
                await asyncio.sleep(seconds)
            finally:
                deadlines.forget(timeout)
    except TimeoutError:
        return False
    return True


def test_who_is_late_is_stopped_and_nobody_else(run: Run) -> None:
    async def all_of_them() -> None:
        deadlines, began = Deadlines(), time.monotonic()
        late = [waited(deadlines, 0.2, 60.0) for _ in range(20)]
        in_time = [waited(deadlines, 60.0, 0.6), waited(deadlines, 0.2, 0.0)]
        assert await asyncio.gather(*late, *in_time) == [False] * 20 + [True, True]
        assert time.monotonic() - began < 30

    run(all_of_them())


def test_it_serves_one_loop_after_the_other(run: Run) -> None:
    deadlines = Deadlines()

    async def late() -> None:
        assert not await waited(deadlines, 0.1, 60.0)
        assert await waited(deadlines, 60.0, 0.0)  # leaves the timer set when the loop ends

    for _ in range(3):
        run(late())


def test_a_cancelled_wait_is_cancelled_and_forgotten(run: Run) -> None:
    async def cancelled() -> None:
        deadlines = Deadlines()
        task = asyncio.ensure_future(waited(deadlines, 60.0, 60.0))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert await waited(deadlines, 60.0, 0.0)

    run(cancelled())
