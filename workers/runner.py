"""Claims a stage run, has it executed, and records the end of one that could not do so itself."""

import ctypes
import gc
import logging
import os
import signal
import socket
import sys
from contextlib import suppress
from datetime import timedelta

from sqlalchemy.orm import Session

from app.config import get_settings
from app.contracts.stages import Stage, StageStatus
from app.database import read_session_factory, transaction
from app.jobs.fairness import next_run
from app.jobs.lifecycle import claim, fail_stage, release_stage
from app.jobs.row_removal import due_removals, remove_rows
from app.jobs.sweeping import complete_queues, sweep, waiting_by_queue
from app.logs import context
from app.ownership import in_project
from app.queue import queue_of
from app.storage import get_storage
from workers.attempt import Attempt, persist
from workers.isolation import Death, run_isolated
from workers.stopping import shutting_down

logger = logging.getLogger(__name__)

_CHOICES = 100
"""The chosen run may be withdrawn, or its job cancelled, before it is claimed."""


def worker_name() -> str:
    return f"{socket.gethostname()}:{os.getpid()}"


def take_turn(queue: str) -> None:
    """A message came from `queue`: runs the one stage run whose turn it is there to its end, whichever the message names.

    Each message is worth one turn, so there are enough of them whoever comes first. Does nothing if nothing waits.
    """
    stages = [stage for stage in Stage if queue_of(stage) == queue]
    for _ in range(_CHOICES):
        if shutting_down.is_set():
            return
        with transaction() as session:
            if (chosen := next_run(session, stages)) is None:
                return
            run_id, project = chosen
            with in_project(project):
                attempt = claim_attempt(session, run_id)
        if attempt is not None:
            run_claimed(attempt)
            return


def run_claimed(attempt: Attempt) -> None:
    """To its end, which its row tells afterwards."""
    worker = get_settings().worker
    if not worker.isolate:
        from workers.attempt_run import run_attempt  # torch, which an isolating worker does without

        _free_memory()
        run_attempt(attempt)
    elif death := run_isolated(attempt, shutting_down, worker.grace_seconds):
        with (
            in_project(attempt.project),
            context(job=attempt.job_id, stage=attempt.stage.value, shard=attempt.shard or None, attempt=attempt.attempt),
        ):
            _record(attempt, death)


def sweep_once(*, at_start: bool = False) -> int:
    """Takes stages from workers that died, and sends messages again that were lost; `at_start` those of all stages that wait."""
    worker = get_settings().worker
    with read_session_factory()() as session:
        waiting = waiting_by_queue(session)
    complete = complete_queues(waiting)  # asks Redis, so in no transaction
    with transaction() as session:
        lost_after = timedelta(seconds=worker.lost_after_seconds)
        resend_after = timedelta(0) if at_start else lost_after
        return sweep(session, lost_after, resend_after, worker.max_attempts, timedelta(seconds=worker.retry_seconds), complete)


def remove_rows_once() -> int:
    """Removes the rows of jobs that have succeeded and are not to keep them; of how many nothing is left. A store that is away can wait."""
    with read_session_factory()() as session:
        due = due_removals(session)
    gone = 0
    for project, job_id in due:
        try:
            with in_project(project):
                gone += remove_rows(job_id, get_storage())
        except OSError as error:
            logger.warning("the rows of %s are not removed yet: %s", job_id, error)
    return gone


def claim_attempt(session: Session, run_id: int) -> Attempt | None:
    """As `lifecycle.claim`, with what the stage needs to know."""
    run = claim(session, run_id, worker_name())
    if run is None:
        return None
    job = run.job
    done = {Stage(other.stage): other.artefact_key for other in job.stages if other.status == StageStatus.SUCCEEDED and other.artefact_key}
    dataset = job.dataset
    return Attempt(
        run.project_id,
        run_id,
        run.attempt,
        Stage(run.stage),
        run.shard,
        run.shrink,
        job.id,
        dataset.content_hash,
        dataset.shared_hash,
        dataset.test_rows > 0,
        job.spec,
        done,
    )


def _record(attempt: Attempt, death: Death) -> None:
    """A process that died leaves its row running; waiting for the sweeper would cost a minute and tell less."""
    logger.error("the process of %s ended without recording it: %s", attempt.stage, death)
    worker = get_settings().worker
    if death.asked:
        persist(lambda session: release_stage(session, attempt.run_id, attempt.attempt))
        return
    if death.out_of_memory:
        error = {
            "type": "out-of-memory",
            "detail": "The system ran out of memory and killed the stage's process.",
            "remedy": "Give the worker more memory, or lower the stage's batch_size or max_tokens, then resume the job.",
        }
    else:
        how = f"was killed by {signal.Signals(death.signal).name}" if death.signal else f"ended with exit code {death.exit_code}"
        error = {
            "type": "worker-lost",
            "detail": f"The stage's process {how}.",
            "remedy": "The worker's log may tell why. Then resume the job.",
        }
    persist(
        lambda session: fail_stage(
            session,
            attempt.run_id,
            attempt.attempt,
            error,
            retry=True,
            max_attempts=worker.max_attempts,
            delay=timedelta(seconds=worker.retry_seconds),
            shrink=death.out_of_memory,
        )
    )


def _free_memory() -> None:
    """Gives the memory of the stage before back to the system; glibc alone would keep it."""
    gc.collect()
    if sys.platform == "linux":
        with suppress(AttributeError):  # another libc than glibc has no malloc_trim
            ctypes.CDLL(None).malloc_trim(0)
