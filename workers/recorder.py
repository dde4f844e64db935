"""Progress, heartbeat, cancellation and events: the only worker code that touches the database while a stage runs."""

import logging
import threading
from types import TracebackType
from typing import Any

from sqlalchemy.exc import SQLAlchemyError

from app.config import WorkerSettings
from app.database import transaction
from app.jobs.lifecycle import heartbeat, lock_job, record_event
from workers.training.recorder import StageStopped

logger = logging.getLogger(__name__)

shutting_down = threading.Event()
"""Set once the worker has been told to stop; every stage ends at its next safe point."""


class StageCancelled(StageStopped):
    """The row is not this worker's any more, or its job was cancelled."""


class StageReleased(StageStopped):
    """The worker is shutting down and gives the stage back."""


class DatabaseRecorder:
    """A context manager around one attempt of one stage run: a thread shows that it lives, and learns whether to stop."""

    def __init__(self, job_id: str, run_id: int, attempt: int, stage: str, unit: str, settings: WorkerSettings) -> None:
        self.job_id, self.run_id, self.attempt, self.stage, self.unit = job_id, run_id, attempt, stage, unit
        self._settings = settings
        self._progress = (0.0, 0.0)
        self._cancelled = threading.Event()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._beat, name=f"heartbeat-{run_id}", daemon=True)

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
        if self._cancelled.is_set():
            raise StageCancelled
        if shutting_down.is_set():
            raise StageReleased

    def event(self, type: str, message: str, **data: Any) -> None:
        with transaction() as session:
            if lock_job(session, self.job_id) is not None:
                record_event(session, self.job_id, type, message, stage=self.stage, **data)

    def write(self) -> None:
        """Writes the progress now, and notes whether the stage should stop."""
        done, total = self._progress
        with transaction() as session:
            if not heartbeat(session, self.run_id, self.attempt, done, total, self.unit):
                self._cancelled.set()

    def _beat(self) -> None:
        while not self._ended.wait(self._settings.heartbeat_seconds):
            try:
                self.write()
            except SQLAlchemyError as error:  # the next beat tries again; the sweeper decides if the database stays away
                logger.warning("heartbeat of stage run %s not written: %s", self.run_id, error)
