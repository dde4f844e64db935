"""Celery's entry: a message names a stage run, and everything else is in its row."""

from app.contracts.stages import RUN_STAGE_TASK
from workers.celery_app import celery_app
from workers.runner import run_stage_run


@celery_app.task(name=RUN_STAGE_TASK)  # type: ignore[untyped-decorator]  # Celery has no types
def run_stage(stage_run_id: int) -> None:
    run_stage_run(stage_run_id)
