"""When a stage's state is saved, and how it lies on disk."""

import logging
import os
import pickle
import time
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from types import TracebackType

import numpy as np
import torch
from torch import Tensor

from workers.training.recorder import Recorder, State

logger = logging.getLogger(__name__)

MIN_SECONDS_BETWEEN = 20.0
_LEAST_RATIO = 20.0
"""Training lasts so many times as long as the writing of its checkpoints, however slow the disk."""

MakeState = Callable[[], State]
Offer = Callable[[MakeState], None]
"""Offers a checkpoint; the state is made only if one is due."""


def no_checkpoints(_make: MakeState) -> None:
    pass


class Checkpoints:
    """One stage's checkpoints. `format`: names the stage and the layout of its state; a state of another is not used."""

    def __init__(self, recorder: Recorder, format: str) -> None:
        self._recorder, self._format = recorder, format

    def take(self) -> State | None:
        """The state to go on from, None to start from the beginning. No reference to it is kept."""
        state = self._recorder.load_checkpoint()
        return state if state is not None and state.pop("format", None) == self._format else None

    def offer(self, make: MakeState) -> None:
        if self._recorder.checkpoint_due():
            self._recorder.save_checkpoint({"format": self._format, **make()})


class CheckpointClock:
    """Tells a recorder when the next checkpoint is due. Checkpoints are written inside `with clock:`, which measures what they cost."""

    def __init__(self, min_seconds: float = MIN_SECONDS_BETWEEN, now: Callable[[], float] = time.monotonic) -> None:
        self._min_seconds, self._now = min_seconds, now
        self._begun = now()
        self._next = self._begun + min_seconds

    def due(self) -> bool:
        return self._now() >= self._next

    def __enter__(self) -> None:
        self._begun = self._now()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        end = self._now()
        self._next = end + max(self._min_seconds, _LEAST_RATIO * (end - self._begun))


def write_state(state: State, path: Path) -> None:
    """Whole or not at all. One writer a path. Raises `OSError`; the file of before then stays."""
    part = path.with_name(f"{path.name}.part")
    try:
        with part.open("wb") as file:
            torch.save(state, file)
            file.flush()
            os.fsync(file.fileno())  # or a power cut leaves the new name on empty pages
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def read_state(path: Path) -> State | None:
    """The state, its tensors on the CPU. None if there is none, or if the file is torn or holds anything but plain data."""
    try:
        with zipfile.ZipFile(path) as archive:
            if (broken := archive.testzip()) is not None:  # torch writes checksums, but does not check them
                raise zipfile.BadZipFile(broken)
        state = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        return None
    except (zipfile.BadZipFile, zlib.error, pickle.UnpicklingError, RuntimeError, EOFError, ValueError, KeyError) as error:
        logger.warning("the checkpoint %s cannot be read, and is not used: %s", path, error)
        return None
    return state if isinstance(state, dict) else None


def pack_files(folder: Path) -> dict[str, Tensor]:
    """The files in `folder`, by name, as bytes (N,)."""
    return {file.name: torch.from_numpy(np.frombuffer(bytearray(file.read_bytes()), dtype=np.uint8)) for file in sorted(folder.iterdir())}


def unpack_files(files: dict[str, Tensor], folder: Path) -> None:
    for name, content in files.items():
        (folder / name).write_bytes(content.numpy().tobytes())
