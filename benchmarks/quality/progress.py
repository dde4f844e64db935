"""What the bench says while it runs."""

import time
from typing import Any

_EVERY_SECONDS = 15.0


class PrintRecorder:
    """A `Recorder` that prints events as they come, and progress now and then."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._told = time.monotonic()

    def progress(self, done: float, total: float) -> None:
        if time.monotonic() - self._told >= _EVERY_SECONDS:
            self._say(f"{done:g} of {total:g}")

    def event(self, type: str, message: str, **data: Any) -> None:
        self._say(message)

    def check(self) -> None:
        pass

    def _say(self, message: str) -> None:
        self._told = time.monotonic()
        print(f"  {self.name}: {message}", flush=True)
