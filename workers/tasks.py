"""Celery's entry. The row that a message names is the one that it was sent for; its worker takes the one whose turn it is."""

from typing import Any

from app.contracts.bulk import RUN_BULK_TASK
from app.contracts.stages import RUN_STAGE_TASK
from workers.bulk import run_bulk_prediction
from workers.celery_app import celery_app
from workers.runner import take_turn


@celery_app.task(name=RUN_STAGE_TASK, bind=True)  # type: ignore[untyped-decorator]  # Celery has no types
def run_stage(task: Any, stage_run_id: int) -> None:
    take_turn(task.request.delivery_info["routing_key"])  # the queue's name, also of a row that is gone


@celery_app.task(name=RUN_BULK_TASK)  # type: ignore[untyped-decorator]  # Celery has no types
def run_bulk(bulk_id: str) -> None:
    run_bulk_prediction()
