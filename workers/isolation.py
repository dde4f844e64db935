"""A process for each attempt: its memory goes back to the system, and what kills it does not kill the worker."""

import logging
import multiprocessing
import os
import signal
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing import connection
from multiprocessing.context import ForkServerContext
from pathlib import Path

from app.config import get_settings
from workers.attempt import Attempt

logger = logging.getLogger(__name__)
_POLL_SECONDS = 0.2
_PRELOADED = "workers.attempt_run"
# Counters of processes that the kernel killed for memory: of the container, and of the machine.
_OOM_COUNTERS = (Path("/sys/fs/cgroup/memory.events"), Path("/proc/vmstat"))


@dataclass(frozen=True)
class Death:
    """How a process ended that did not record its own end. `signal` is 0 if it exited by itself."""

    exit_code: int
    signal: int
    out_of_memory: bool
    asked: bool
    """It had been told to stop."""


def run_isolated(attempt: Attempt, stopping: threading.Event, grace_seconds: float) -> Death | None:
    """Runs the attempt in a process of its own; None if that recorded its end.

    Once `stopping` is set, the process is asked to give its stage back, and killed after `grace_seconds`.
    """
    before = _oom_kills()
    process = _context().Process(target=_run, args=(attempt, dict(os.environ)), name=f"{attempt.stage}-{attempt.run_id}")
    process.start()
    asked: float | None = None
    while not connection.wait([process.sentinel], _POLL_SECONDS):
        if not stopping.is_set():
            continue
        if asked is None:
            asked = time.monotonic()
            process.terminate()
        elif time.monotonic() - asked > grace_seconds:
            process.kill()
    process.join()
    code = process.exitcode or 0
    return Death(code, max(-code, 0), _oom_kills() > before, asked is not None) if code else None


def warm_up() -> None:
    """Returns once processes start at once. For before a worker's first stage: there is no heartbeat while the server imports torch."""
    process = _context().Process(target=os.getpid)
    process.start()
    process.join()


def _context() -> ForkServerContext:
    """Forks from a server that has torch imported but no CUDA started: a stage starts at once, and CUDA never meets a fork."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([_PRELOADED])
    return context


def _run(attempt: Attempt, environment: dict[str, str]) -> None:
    # The server it was forked from keeps the environment of its start.
    os.environ.clear()
    os.environ.update(environment)
    get_settings.cache_clear()
    from workers.attempt_run import run_attempt, set_threads
    from workers.logs import configure_worker_logging
    from workers.stopping import shutting_down

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal's Ctrl-C is the worker's to handle
    signal.signal(signal.SIGTERM, lambda *_: shutting_down.set())
    threading.Thread(target=_end_with_parent, name="parent-watch", daemon=True).start()
    with suppress(OSError):  # the kernel, when it needs memory, should take this process and not the worker
        Path("/proc/self/oom_score_adj").write_text("500")
    configure_worker_logging()
    set_threads()
    run_attempt(attempt, isolated=True)


def _end_with_parent() -> None:
    if (parent := multiprocessing.parent_process()) is not None:
        parent.join()
        # Another worker gets the stage once the heartbeat is old; two must not write the same row's end.
        os._exit(1)


def _oom_kills() -> int:
    for path in _OOM_COUNTERS:
        with suppress(OSError, ValueError):
            for line in path.read_text().splitlines():
                name, _, value = line.partition(" ")
                if name == "oom_kill":
                    return int(value)
    return 0
