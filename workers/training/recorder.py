"""What a stage needs from outside. The real one writes to the database; `NullRecorder` serves scripts and tests."""

from typing import Any, Protocol

State = dict[str, Any]
"""All that the rest of a stage depends on: tensors, numbers, strings, None, and lists and dicts of these.

Nothing else, so that it is read by `torch.load(weights_only=True)`, which runs no pickled code.
"""


class StageStopped(Exception):
    """Raised by a recorder at a safe point to end the stage: its job was cancelled, or its worker is shutting down."""


class Recorder(Protocol):
    def progress(self, done: float, total: float) -> None:
        """Notes how far the stage is, in the stage's unit. A safe point: may raise `StageStopped`."""

    def event(self, type: str, message: str, **data: Any) -> None:
        """Notes something worth telling, such as an epoch's losses."""

    def check(self) -> None:
        """A safe point without news. May raise `StageStopped`."""

    def load_checkpoint(self) -> State | None:
        """The last state that an earlier attempt with the same inputs saved. The stage may change it and holds on to parts of it."""

    def checkpoint_due(self) -> bool:
        """Whether the stage should save its state now. Asked after every step, before the safe point: a worker that is told to stop loses
        nothing by asking for one last checkpoint."""

    def save_checkpoint(self, state: State) -> None:
        """Writes `state` in place of the one before. Done with it on return: its tensors are the live ones, and go on changing."""


class NullRecorder:
    def progress(self, done: float, total: float) -> None:
        pass

    def event(self, type: str, message: str, **data: Any) -> None:
        pass

    def check(self) -> None:
        pass

    def load_checkpoint(self) -> State | None:
        return None

    def checkpoint_due(self) -> bool:
        return False

    def save_checkpoint(self, state: State) -> None:
        pass
