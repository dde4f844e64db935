"""Refusals that come fast wait for their turn: callers that ignore `Retry-After` would else take the time of those being served."""

import asyncio
import time

from app.errors import ServiceError

HOLD_FROM_SECONDS = 0.02
MAX_HOLD_SECONDS = 5.0
MAX_HELD = 4000


class Holdback:
    """Lets so many refusals a second go. Used from one event loop."""

    def __init__(self, per_second: float) -> None:
        self._per_second = per_second
        self._held = 0
        self._next = 0.0

    async def wait(self) -> None:
        """For the turn of one refusal: not at all, unless they come faster."""
        now = time.monotonic()
        self._next = max(now, self._next + 1 / self._per_second)
        seconds = min(self._next - now, MAX_HOLD_SECONDS)
        if seconds < HOLD_FROM_SECONDS or self._held >= MAX_HELD:
            return
        self._held += 1
        try:
            await asyncio.sleep(seconds)
        finally:
            self._held -= 1


class Refused(ServiceError):
    """A 429. Whoever answers with it waits for `holdback` first."""

    def __init__(self, status: int, type: str, detail: str, *, remedy: str, retry_after: int, holdback: Holdback) -> None:
        super().__init__(status, type, detail, remedy=remedy, headers={"Retry-After": str(retry_after)})
        self.holdback = holdback
