"""Claims a stage run, executes it, and records how it ended."""

import ctypes
import gc
import logging
import os
import socket
import sys
from contextlib import suppress
from datetime import timedelta

from app.config import get_settings
from app.contracts.spec import JobSpec
from app.contracts.stages import GRAPH, Stage, StageStatus
from app.contracts.students import STUDENT_MANIFEST_FILE, StudentManifest
from app.database import transaction
from app.jobs.lifecycle import JobStopped, cancel_running, claim, fail_stage, finish_stage, publish_version, release_stage, sweep
from app.storage import get_storage
from app.tables import Job
from workers.execution import JobContext, Outcome, StageExecution
from workers.failures import classify
from workers.recorder import DatabaseRecorder, StageCancelled, StageReleased, shutting_down

logger = logging.getLogger(__name__)


def free_memory() -> None:
    """Gives the memory of the stage before back to the system; glibc alone would keep it."""
    gc.collect()
    if sys.platform == "linux":
        with suppress(AttributeError):  # another libc than glibc has no malloc_trim
            ctypes.CDLL(None).malloc_trim(0)


def worker_name() -> str:
    return f"{socket.gethostname()}:{os.getpid()}"


def run_stage_run(run_id: int) -> None:
    """Runs a queued stage run to its end. Does nothing if another worker was first: the message is only a hint."""
    if shutting_down.is_set():
        return
    settings = get_settings()
    free_memory()
    with transaction() as session:
        run = claim(session, run_id, worker_name())
        if run is None:
            return
        job, stage, attempt = run.job, Stage(run.stage), run.attempt
        dataset, spec = job.dataset, job.spec
        done = {
            Stage(other.stage): other.artefact_key for other in job.stages if other.status == StageStatus.SUCCEEDED and other.artefact_key
        }
    logger.info("%s of %s: attempt %s", stage, job.id, attempt)
    try:
        # Checked here, where a failure ends in the row: a spec written by another version may not be valid any more.
        context = JobContext(job.id, dataset.content_hash, dataset.test_rows > 0, JobSpec.model_validate(spec), done)
        with DatabaseRecorder(context.job_id, run_id, attempt, stage, GRAPH[stage].unit, settings.worker) as recorder:
            outcome = StageExecution(stage, context, get_storage(), settings.data_dir.resolve()).run(recorder)
            recorder.write()
        _finish(run_id, attempt, stage, context, outcome)
    except (StageCancelled, JobStopped):
        logger.info("%s of %s: cancelled", stage, job.id)
        with transaction() as session:
            cancel_running(session, run_id, attempt)
    except StageReleased:
        logger.info("%s of %s: given back", stage, job.id)
        with transaction() as session:
            release_stage(session, run_id, attempt)
    # Whatever a stage raises must end in its row, or the job would wait for ever.
    except Exception as error:
        failure = classify(error)
        logger.exception("%s of %s: %s", stage, job.id, failure.type)
        with transaction() as session:
            fail_stage(session, run_id, attempt, failure.as_error(), retry=failure.retry, max_attempts=settings.worker.max_attempts)


def sweep_once(*, at_start: bool = False) -> int:
    """Takes stages from workers that died, and sends messages again that were lost; `at_start` those of all stages that wait."""
    worker = get_settings().worker
    with transaction() as session:
        lost_after = timedelta(seconds=worker.lost_after_seconds)
        return sweep(session, lost_after, timedelta(0) if at_start else lost_after, worker.max_attempts)


def _finish(run_id: int, attempt: int, stage: Stage, context: JobContext, outcome: Outcome) -> None:
    manifest = outcome.manifest
    student = None
    if stage == Stage.PUBLISH:
        student = StudentManifest.model_validate_json(get_storage().read(f"artefacts/{manifest.key}/{STUDENT_MANIFEST_FILE}"))
    with transaction() as session:
        if student is not None:
            job = session.get_one(Job, context.job_id)
            publish_version(session, job, kind=student.kind, artefact_key=manifest.key, manifest=student.model_dump(mode="json"))
        finish_stage(
            session,
            run_id,
            attempt,
            artefact_key=manifest.key,
            reused=outcome.reused,
            metrics=manifest.metrics,
            warnings=manifest.warnings,
        )
