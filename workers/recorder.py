"""Progress, heartbeat, cancellation, events and checkpoints: the only worker code that touches the database while a stage runs."""

import logging
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any

from sqlalchemy.exc import SQLAlchemyError

from app.config import WorkerSettings
from app.database import transaction
from app.jobs.lifecycle import heartbeat, lock_job, record_event
from app.logs import carried
from app.storage import BlobStore
from workers.stopping import shutting_down
from workers.training.checkpointing import CheckpointClock, read_state, write_state
from workers.training.recorder import StageStopped, State

logger = logging.getLogger(__name__)


class StageCancelled(StageStopped):
    """The row is not this worker's any more, or its job was cancelled."""


class StageReleased(StageStopped):
    """The worker is shutting down and gives the stage back."""


class StoredCheckpoints:
    """The checkpoint of one artefact to be, in the store, where an attempt on any machine finds it. `folder`: for its local copy."""

    def __init__(self, storage: BlobStore, key: str, folder: Path) -> None:
        self._storage, self._key, self._file = storage, key, folder / f"{key}.{os.getpid()}.checkpoint"

    def load(self) -> State | None:
        try:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            return read_state(self._file) if self._storage.read_checkpoint(self._key, self._file) else None
        finally:
            self._file.unlink(missing_ok=True)

    def save(self, state: State) -> None:
        try:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            write_state(state, self._file)
            self._storage.write_checkpoint(self._key, self._file)
        finally:
            self._file.unlink(missing_ok=True)

    def remove(self) -> None:
        self._storage.delete_checkpoint(self._key)


class DatabaseRecorder:
    """A context manager around one attempt of one stage run: a thread shows that it lives, and learns whether to stop.

    A database that is away for a while does not stop the stage: what there is to tell is kept until it is back. `on_stuck` is called, in
    that thread, if a cancelled stage comes to no safe point in time.
    """

    def __init__(
        self,
        job_id: str,
        run_id: int,
        attempt: int,
        stage: str,
        unit: str,
        settings: WorkerSettings,
        on_stuck: Callable[[], None] | None = None,
    ) -> None:
        self.job_id, self.run_id, self.attempt, self.stage, self.unit = job_id, run_id, attempt, stage, unit
        self.checkpoints: StoredCheckpoints | None = None
        self._settings, self._on_stuck = settings, on_stuck
        self._clock = CheckpointClock(settings.checkpoint_seconds)
        self._progress = (0.0, 0.0)
        self._untold: list[tuple[str, str, dict[str, Any]]] = []
        self._telling = threading.Lock()
        self._cancelled_at: float | None = None
        self._ended = threading.Event()
        self._last_saved = False
        self._thread = threading.Thread(target=carried(self._beat), name=f"heartbeat-{run_id}", daemon=True)

    def __enter__(self) -> "DatabaseRecorder":
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._ended.set()
        self._thread.join()

    def progress(self, done: float, total: float) -> None:
        self._progress = (float(done), float(total))
        self.check()

    def check(self) -> None:
        if self._cancelled_at is not None:
            raise StageCancelled
        if shutting_down.is_set():
            raise StageReleased

    def event(self, type: str, message: str, **data: Any) -> None:
        self._untold.append((type, message, data))

    def load_checkpoint(self) -> State | None:
        return self.checkpoints.load() if self.checkpoints else None

    def checkpoint_due(self) -> bool:
        if self.checkpoints is None or self._cancelled_at is not None:
            return False
        # Told to stop, one last: nothing of this attempt is lost then.
        return self._clock.due() or (shutting_down.is_set() and not self._last_saved)

    def save_checkpoint(self, state: State) -> None:
        self._last_saved = shutting_down.is_set()
        if self.checkpoints is None:
            return
        with self._clock:
            try:
                self.checkpoints.save(state)
            except OSError as error:  # a stage that goes on without is better than one that fails
                logger.warning("checkpoint not written: %s", error)

    def write(self) -> None:
        """Writes progress and events now, and notes whether the stage should stop."""
        done, total = self._progress
        with self._telling:
            untold = self._untold[:]
            with transaction() as session:
                if untold and lock_job(session, self.job_id) is not None:
                    for type, message, data in untold:
                        record_event(session, self.job_id, type, message, stage=self.stage, **data)
                if not heartbeat(session, self.run_id, self.attempt, done, total, self.unit):
                    self._cancelled_at = self._cancelled_at or time.monotonic()
            del self._untold[: len(untold)]

    def _beat(self) -> None:
        while not self._ended.wait(self._settings.heartbeat_seconds):
            try:
                self.write()
            except SQLAlchemyError as error:  # the next beat tries again; the sweeper decides if the database stays away
                logger.warning("heartbeat of stage run %s not written: %s", self.run_id, error)
            since = self._cancelled_at
            if since is not None and self._on_stuck is not None and time.monotonic() - since > self._settings.cancel_seconds:
                self._on_stuck()
                return
