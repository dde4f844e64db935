"""What a worker process does beside its tasks, however it was started: logs, torch's threads, sweeper, webhooks, giving its stage back."""

import logging
import threading
import time
from datetime import timedelta
from typing import Any

from celery.signals import celeryd_init, setup_logging, worker_init, worker_ready, worker_shutting_down
from sqlalchemy.exc import SQLAlchemyError

from app.config import get_settings
from app.contracts.bulk import BULK_QUEUE
from app.storage import STORAGE_AWAY, get_storage
from app.tables import utcnow
from app.webhooks.sender import run_sender
from workers.bulk import sweep_bulk_once
from workers.isolation import warm_up
from workers.logs import configure_worker_logging
from workers.runner import remove_rows_once, sweep_once
from workers.scratch import remove_leftovers
from workers.stopping import shutting_down

logger = logging.getLogger(__name__)
_CLEANING_SECONDS = 3600.0

celeryd_init.connect(configure_worker_logging)  # before Celery's first warnings
setup_logging.connect(configure_worker_logging)  # Celery leaves the logs alone then


@worker_init.connect  # type: ignore[untyped-decorator]  # Celery has no types
def _prepare(sender: Any, **_: Any) -> None:
    if set(sender.app.amqp.queues.consume_from) == {BULK_QUEUE}:
        return
    if get_settings().worker.isolate:
        warm_up()
    else:
        from workers.attempt_run import set_threads  # torch, which an isolating worker does without

        set_threads()


@worker_ready.connect  # type: ignore[untyped-decorator]  # Celery has no types
def _start_sweeper(sender: Any, **_: Any) -> None:
    threading.Thread(target=_sweep, name="sweeper", daemon=True).start()
    # Beside files and not stages: a worker on a machine for training may not be let out to receivers.
    if BULK_QUEUE in sender.app.amqp.queues.consume_from:
        threading.Thread(target=run_sender, args=(shutting_down,), name="webhooks", daemon=True).start()


@worker_shutting_down.connect  # type: ignore[untyped-decorator]  # Celery has no types
def _stop_stage(**_: Any) -> None:
    shutting_down.set()


def _sweep() -> None:
    next_cleaning = time.monotonic() + _CLEANING_SECONDS
    # A Redis that was restarted together with its workers has lost the messages; one too many does no harm.
    at_start = True
    while True:
        try:
            if mended := sweep_once(at_start=at_start):
                logger.warning("sweeper: %s stage runs taken from dead workers or sent again", mended)
            if mended := sweep_bulk_once(at_start=at_start):
                logger.warning("sweeper: %s bulk predictions taken from dead workers or sent again", mended)
            if gone := remove_rows_once():
                logger.info("the rows of %s jobs that were not to keep them are removed", gone)
            at_start = False
        except SQLAlchemyError as error:  # the next round tries again
            logger.warning("sweeper: database not reached: %s", error)
        if removed := remove_leftovers(get_settings().data_dir.resolve() / "work"):
            logger.warning("%s half-made outputs of killed processes removed", removed)
        if time.monotonic() >= next_cleaning:
            next_cleaning = time.monotonic() + _CLEANING_SECONDS
            clean_cache()
        if shutting_down.wait(get_settings().worker.sweep_seconds):
            return


def clean_cache() -> int:
    """Removes this machine's copies of artefacts that were deleted from the store meanwhile; returns the bytes freed, 0 if it is away."""
    before = utcnow() - timedelta(seconds=get_settings().gc_grace_seconds)
    try:
        freed = get_storage().clean_cache(before)
    except (OSError, *STORAGE_AWAY) as error:  # the next cleaning tries again
        logger.warning("cached artefacts not cleaned: %s", error)
        return 0
    if freed:
        logger.info("%s bytes of cached artefacts removed, which the store holds no longer", freed)
    return freed
