"""Work that is done again and again in a thread of its own."""

import logging
import threading
from collections.abc import Callable

from sqlalchemy.exc import SQLAlchemyError

from app.errors import ServiceError

logger = logging.getLogger(__name__)


class Away:
    """Tells once that the database is away, however often it is tried, and again the next time it goes."""

    def __init__(self, meanwhile: str) -> None:
        self._meanwhile, self._told = meanwhile, False

    def __call__(self, error: Exception | None) -> None:
        """`error`: None once the database answers."""
        if error is not None and not self._told:
            logger.warning("%s: %s", self._meanwhile, error)
        self._told = error is not None


class Periodic:
    """Calls `step` every so many seconds from `start` to `stop`, `at_end` once more.

    Goes on where the step raises `SQLAlchemyError` or `ServiceError`; `meanwhile`: what the log is then told.
    """

    def __init__(self, name: str, step: Callable[[], None], seconds: float, *, meanwhile: str, at_end: bool = False) -> None:
        self._name, self._step, self._seconds, self._at_end = name, step, seconds, at_end
        self._away = Away(meanwhile)
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None

    @property
    def running(self) -> bool:
        return self._thread is not None

    def start(self) -> None:
        self._stopping.clear()
        self._thread = threading.Thread(target=self._run, name=self._name, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Returns once the last step has ended."""
        self._stopping.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None

    def _run(self) -> None:
        while not self._stopping.wait(self._seconds):
            self._try()
        if self._at_end:
            self._try()

    def _try(self) -> None:
        try:
            self._step()
        except (SQLAlchemyError, ServiceError) as error:
            self._away(error)
        else:
            self._away(None)
