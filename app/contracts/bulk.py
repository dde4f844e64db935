"""What the API and the workers agree on about bulk predictions."""

from enum import StrEnum

RUN_BULK_TASK = "gendistil.run_bulk_prediction"
"""Name of the Celery task; its only argument is the id of a bulk prediction."""

BULK_QUEUE = "bulk"


class BulkStatus(StrEnum):
    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"


OPEN_BULK = (BulkStatus.QUEUED, BulkStatus.RUNNING)
