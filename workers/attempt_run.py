"""Runs one attempt of a stage run, from the claimed row to the recorded end. Imports everything that a stage needs."""

import logging
import os
import resource
import sys
from contextlib import suppress
from datetime import timedelta
from functools import partial

import torch
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from app.config import get_settings
from app.contracts.comparison import Comparison
from app.contracts.spec import JobSpec
from app.contracts.stages import GRAPH, Stage
from app.contracts.students import STUDENT_MANIFEST_FILE, StudentManifest
from app.jobs.lifecycle import JobStopped, cancel_running, fail_stage, finish_stage, publish_version, release_stage
from app.jobs.promotion import ChampionMoved
from app.jobs.sharding import rebuild, shard_stage
from app.logs import QUIET, context
from app.ownership import in_project
from app.storage import get_storage
from app.tables import Job
from workers.attempt import Attempt, persist
from workers.execution import JobContext, Lost, Outcome, StageExecution
from workers.failures import classify, told
from workers.gate import compare_with_latest
from workers.recorder import DatabaseRecorder, StageCancelled, StageReleased, StoredCheckpoints

logger = logging.getLogger(__name__)


def set_threads() -> None:
    torch.set_num_threads(get_settings().worker.threads or len(os.sched_getaffinity(0)))


def run_attempt(attempt: Attempt, *, isolated: bool = False) -> None:
    """Runs the stage; however that ends, its row says so afterwards. `isolated`: this process has nothing else to do."""
    with (
        in_project(attempt.project),
        context(job=attempt.job_id, stage=attempt.stage.value, shard=attempt.shard or None, attempt=attempt.attempt),
    ):
        _run_attempt(attempt, isolated)


def _run_attempt(attempt: Attempt, isolated: bool) -> None:
    settings, stage = get_settings(), attempt.stage
    logger.info("%s begins", stage)
    data_dir = settings.data_dir.resolve()
    execution: StageExecution | None = None

    def end_process() -> None:
        logger.warning("%s came to no safe point in time; its process is ended", stage)
        if execution is not None:
            execution.scratch.remove()
        persist(lambda session: cancel_running(session, attempt.run_id, attempt.attempt))
        os._exit(0)

    recorder = DatabaseRecorder(
        attempt.job_id,
        attempt.run_id,
        attempt.attempt,
        stage,
        GRAPH[stage].unit,
        settings.worker,
        on_stuck=end_process if isolated else None,
    )
    try:
        # Checked here, where a failure ends in the row: a spec written by another version may not be valid any more.
        spec = JobSpec.model_validate(attempt.spec)
        job = JobContext(
            attempt.job_id,
            attempt.dataset_hash,
            attempt.has_test,
            spec,
            attempt.done,
            attempt.shard,
            attempt.shrink,
            attempt.project,
            attempt.lineage_hash,
        )
        execution = StageExecution(stage, job, get_storage(), data_dir)
        with recorder:
            recorder.checkpoints = StoredCheckpoints(get_storage(), execution.key, execution.scratch.path)
            outcome = execution.run(recorder)
            # Here, where the heart still beats: it may take some seconds.
            comparison = compare_with_latest(execution) if stage == Stage.PUBLISH else None
            if outcome.manifest is not None and not outcome.reused:
                recorder.checkpoints.remove()
        persist(lambda _session: recorder.write())
        _record_outcome(attempt, execution, outcome, comparison)
    except (StageCancelled, JobStopped):
        held: list[bool] = []
        persist(lambda session: held.append(cancel_running(session, attempt.run_id, attempt.attempt)))
        logger.info("%s was cancelled", stage if held[-1] else f"outdated attempt at {stage}")
        if held[-1] and recorder.checkpoints is not None:  # else they are the next attempt's to use
            recorder.checkpoints.remove()
    except StageReleased:
        logger.info("%s is given back", stage)
        persist(lambda session: release_stage(session, attempt.run_id, attempt.attempt))
    # Whatever a stage raises must end in its row, or the job would wait for ever.
    except Exception as error:
        logger.exception("%s: %s", stage, classify(error).type, extra=QUIET)
        # What is to be told of the attempt must not hide why it failed.
        with suppress(SQLAlchemyError):
            recorder.write()
        failed = error
        persist(lambda session: _fail(session, attempt, failed))


def _record_outcome(attempt: Attempt, execution: StageExecution, outcome: Outcome, comparison: Comparison | None) -> None:
    while True:
        try:
            persist(partial(_finish, attempt=attempt, outcome=outcome, comparison=comparison))
            return
        except ChampionMoved:  # another job of this name has published meanwhile
            comparison = compare_with_latest(execution)


def _finish(session: Session, attempt: Attempt, outcome: Outcome, comparison: Comparison | None) -> None:
    manifest = outcome.manifest
    if manifest is None:
        shard_stage(session, attempt.run_id, attempt.attempt, outcome.shards, outcome.of)
        return
    if attempt.stage == Stage.PUBLISH:
        student = StudentManifest.model_validate_json(get_storage().read_verified(manifest.key, STUDENT_MANIFEST_FILE))
        job = session.get_one(Job, attempt.job_id)
        content = student.model_dump(mode="json")
        publish_version(session, job, kind=student.kind, artefact_key=manifest.key, manifest=content, comparison=comparison)
    finish_stage(
        session,
        attempt.run_id,
        attempt.attempt,
        artefact_key=manifest.key,
        reused=outcome.reused,
        metrics=manifest.metrics,
        warnings=manifest.warnings,
        peak_bytes=peak_bytes(),
        artefact_bytes=sum(file.bytes for file in manifest.files.values()),
    )


def _fail(session: Session, attempt: Attempt, error: Exception) -> None:
    worker, failure = get_settings().worker, told(error)
    if isinstance(error, Lost):
        rebuild(session, attempt.run_id, attempt.attempt, error.stages, failure.as_error(), worker.max_attempts)
        return
    fail_stage(
        session,
        attempt.run_id,
        attempt.attempt,
        failure.as_error(),
        retry=failure.retry,
        max_attempts=worker.max_attempts,
        delay=timedelta(seconds=worker.retry_seconds),
        shrink=failure.shrink,
    )


def peak_bytes() -> int:
    """Of this process, since it began."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
