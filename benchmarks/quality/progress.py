"""What the bench says while it runs."""

import time
from typing import Any

from workers.training.recorder import NullRecorder

_EVERY_SECONDS = 15.0


class PrintRecorder(NullRecorder):
    """A `Recorder` that prints events as they come, and progress now and then."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._told = time.monotonic()

    def progress(self, done: float, total: float) -> None:
        if time.monotonic() - self._told >= _EVERY_SECONDS:
            self._say(f"{done:g} of {total:g}")

    def event(self, type: str, message: str, **data: Any) -> None:
        self._say(message)

    def _say(self, message: str) -> None:
        self._told = time.monotonic()
        print(f"  {self.name}: {message}", flush=True)
