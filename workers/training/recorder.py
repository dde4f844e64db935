"""What a stage needs from outside. The real one writes to the database; `NullRecorder` serves scripts and tests."""

from typing import Any, Protocol


class StageStopped(Exception):
    """Raised by a recorder at a safe point to end the stage: its job was cancelled, or its worker is shutting down."""


class Recorder(Protocol):
    def progress(self, done: float, total: float) -> None:
        """Notes how far the stage is, in the stage's unit. A safe point: may raise `StageStopped`."""

    def event(self, type: str, message: str, **data: Any) -> None:
        """Notes something worth telling, such as an epoch's losses."""

    def check(self) -> None:
        """A safe point without news. May raise `StageStopped`."""


class NullRecorder:
    def progress(self, done: float, total: float) -> None:
        pass

    def event(self, type: str, message: str, **data: Any) -> None:
        pass

    def check(self) -> None:
        pass
