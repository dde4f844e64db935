"""Celery's entry: a message names a row, and everything else is in that."""

from app.contracts.bulk import RUN_BULK_TASK
from app.contracts.stages import RUN_STAGE_TASK
from workers.bulk import run_bulk_prediction
from workers.celery_app import celery_app
from workers.runner import run_stage_run


@celery_app.task(name=RUN_STAGE_TASK)  # type: ignore[untyped-decorator]  # Celery has no types
def run_stage(stage_run_id: int) -> None:
    run_stage_run(stage_run_id)


@celery_app.task(name=RUN_BULK_TASK)  # type: ignore[untyped-decorator]  # Celery has no types
def run_bulk(bulk_id: str) -> None:
    run_bulk_prediction(bulk_id)
