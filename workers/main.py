"""`python -m workers.main`: one worker process, with the sweeper beside it."""

import argparse
import logging
import os
import threading
from typing import Any

import torch
from celery.signals import worker_ready, worker_shutting_down
from sqlalchemy.exc import SQLAlchemyError

from app.config import get_settings
from workers.celery_app import celery_app
from workers.recorder import shutting_down
from workers.runner import sweep_once

logger = logging.getLogger(__name__)


def main() -> None:
    parser = argparse.ArgumentParser(description="Runs stages, one at a time.")
    parser.add_argument("--queues", default="gpu,cpu", help="which queues to take from (default: both)")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    torch.set_num_threads(get_settings().worker.threads or len(os.sched_getaffinity(0)))
    # solo: CUDA does not survive a fork, and one process a device is what a GPU wants.
    celery_app.worker_main(
        [
            "worker",
            "--pool=solo",
            f"--queues={arguments.queues}",
            "--loglevel=INFO",
            "--without-gossip",
            "--without-mingle",
            "-n",
            f"{os.getpid()}@%h",
        ]
    )


@worker_shutting_down.connect  # type: ignore[untyped-decorator]  # Celery has no types
def _stop_stage(**_: Any) -> None:
    shutting_down.set()


@worker_ready.connect  # type: ignore[untyped-decorator]  # Celery has no types
def _start_sweeper(**_: Any) -> None:
    threading.Thread(target=_sweep, name="sweeper", daemon=True).start()


def _sweep() -> None:
    while not shutting_down.wait(get_settings().worker.sweep_seconds):
        try:
            if mended := sweep_once():
                logger.warning("sweeper: %s stage runs taken from dead workers or sent again", mended)
        except SQLAlchemyError as error:  # the next round tries again
            logger.warning("sweeper: database not reached: %s", error)


if __name__ == "__main__":
    main()
