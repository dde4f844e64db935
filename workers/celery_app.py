"""Celery configuration only."""

from celery import Celery

from app.config import get_settings

celery_app = Celery("gendistil", broker=get_settings().redis_url, include=["workers.tasks", "workers.lifespan"])
celery_app.conf.update(
    task_ignore_result=True,
    task_default_queue="gpu",
    # CUDA does not survive a fork, and one process a device is what a GPU wants.
    worker_pool="solo",
    # A worker takes one message at a time: a stage runs for minutes, and another worker may be free.
    worker_prefetch_multiplier=1,
    worker_cancel_long_running_tasks_on_connection_loss=False,
    worker_hijack_root_logger=False,
    broker_connection_retry_on_startup=True,
    broker_connection_max_retries=None,
    # Messages are acknowledged when they arrive: the row, not the message, says what is still to be done.
    task_acks_late=False,
)
