"""The logs of a worker, and of the processes that its stages run in."""

import multiprocessing
import os
import socket
import sys
from typing import Any

from app.logs import configure_logging


def configure_worker_logging(**_: Any) -> None:
    """Every line names the worker, as its stage runs' rows do."""
    worker = multiprocessing.parent_process()
    configure_logging(worker=f"{socket.gethostname()}:{worker.pid if worker else os.getpid()}")
    # Not imported for this alone: it takes seconds. It has a handler of its own, and draws progress bars.
    if transformers := sys.modules.get("transformers.utils.logging"):
        transformers.disable_default_handler()
        transformers.enable_propagation()
        transformers.disable_progress_bar()
