"""What a worker process does beside its tasks, however it was started: torch's threads, the sweeper, and giving its stage back."""

import logging
import os
import threading
from typing import Any

import torch
from celery.signals import worker_init, worker_ready, worker_shutting_down
from sqlalchemy.exc import SQLAlchemyError

from app.config import get_settings
from workers.recorder import shutting_down
from workers.runner import sweep_once

logger = logging.getLogger(__name__)


@worker_init.connect  # type: ignore[untyped-decorator]  # Celery has no types
def _set_threads(**_: Any) -> None:
    torch.set_num_threads(get_settings().worker.threads or len(os.sched_getaffinity(0)))


@worker_ready.connect  # type: ignore[untyped-decorator]  # Celery has no types
def _start_sweeper(**_: Any) -> None:
    threading.Thread(target=_sweep, name="sweeper", daemon=True).start()


@worker_shutting_down.connect  # type: ignore[untyped-decorator]  # Celery has no types
def _stop_stage(**_: Any) -> None:
    shutting_down.set()


def _sweep() -> None:
    # A Redis that was restarted together with its workers has lost the messages; one too many does no harm.
    at_start = True
    while True:
        try:
            if mended := sweep_once(at_start=at_start):
                logger.warning("sweeper: %s stage runs taken from dead workers or sent again", mended)
            at_start = False
        except SQLAlchemyError as error:  # the next round tries again
            logger.warning("sweeper: database not reached: %s", error)
        if shutting_down.wait(get_settings().worker.sweep_seconds):
            return
