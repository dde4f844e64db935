"""Jobs in the service's own database, and a worker that runs their stages in this process."""

import threading
from pathlib import Path
from typing import Any

from sqlalchemy import select

from app.config import Settings
from app.contracts.stages import GRAPH, Stage
from app.database import transaction
from app.datasets.raw import RawRow
from app.datasets.service import prepare_rows, store_rows
from app.jobs.service import create_job, get_job
from app.storage import get_storage
from app.tables import Event, Job, StageRun
from tests.waiting import wait_for
from tests.workers.tiny import make_rows, tiny_spec
from workers.runner import claim_attempt, run_claimed

LONG = {"epochs": 198, "refit_epochs": 2}
"""Of a teacher that is still at work whenever the test wants something of it."""
LONG_EPOCHS = 200


def submit(settings: Settings, teacher_model: Path, generator_model: Path, /, **overrides: dict[str, Any]) -> str:
    """Creates a job on 20 rows a label, as the API does; `overrides` of its spec by part. Its id."""
    rows = [RawRow(number, row.text, row.label) for number, row in enumerate(make_rows(20), 1)]
    short = {
        "teacher": {"epochs": 2, "refit_epochs": 1},
        "generator": {"epochs": 2},
        "generate": {"texts": 8, "max_attempts": 10},
        "distil": {"epochs": 1, "refit_epochs": 1, "min_steps": 5},
    }
    parts = {part: {**short.get(part, {}), **overrides.get(part, {})} for part in {*short, *overrides}}
    with transaction() as session:
        dataset = store_rows(session, prepare_rows(rows, [], settings.limits), get_storage())
        spec = tiny_spec(teacher_model, generator_model, **parts)
        return create_job(session, name="triage", dataset=dataset, preset="fast", spec=spec, replace_dataset=False).id


def read(job_id: str) -> Job:
    with transaction() as session:
        return get_job(session, job_id)


def run_of(job_id: str, stage: Stage) -> StageRun:
    return next(run for run in read(job_id).stages if run.stage == stage)


def events(job_id: str) -> list[str]:
    with transaction() as session:
        return list(session.scalars(select(Event.type).where(Event.job_id == job_id).order_by(Event.id)))


def run_stage_run(run_id: int) -> None:
    """As a worker does, when it is its turn. Does nothing unless it is queued."""
    with transaction() as session:
        attempt = claim_attempt(session, run_id)
    if attempt is not None:
        run_claimed(attempt)


def run_stage(job_id: str, stage: Stage) -> StageRun:
    """As a worker does; the row after it."""
    run_stage_run(run_of(job_id, stage).id)
    return run_of(job_id, stage)


def run_all(job_id: str) -> Job:
    for stage in GRAPH:
        run_stage(job_id, stage)
    return read(job_id)


def start_teacher(job_id: str) -> threading.Thread:
    """Runs the teacher in another thread, and returns once it makes progress."""
    thread = threading.Thread(target=run_stage_run, args=(run_of(job_id, Stage.FINETUNE_TEACHER).id,))
    thread.start()

    def goes_on() -> bool:
        run = run_of(job_id, Stage.FINETUNE_TEACHER)
        assert thread.is_alive(), (run.status, run.error)
        return run.progress_done > 0

    wait_for(goes_on, 300, "progress of the teacher")  # an isolated one may have to wait for its libraries first
    return thread


def ends(thread: threading.Thread) -> bool:
    """Waits for it."""
    thread.join(60)
    return not thread.is_alive()


def scratch(settings: Settings) -> list[Path]:
    return list((settings.data_dir.resolve() / "work").iterdir())
