"""`/maintenance`: what an operator does now and then."""

from typing import Annotated

from fastapi import APIRouter, Query

from app.maintenance.gc import collect_garbage
from app.maintenance.schemas import Collection
from app.principals import needs
from app.storage import get_storage

router = APIRouter(prefix="/maintenance", tags=["maintenance"])


@router.post("/gc")
@needs("operator")
def post_gc(dry_run: Annotated[bool, Query(description="Only tell what would be removed.")] = False) -> Collection:
    """Removes blobs that no dataset, job or student uses and that are older than the grace time, and expired idempotency keys."""
    return collect_garbage(get_storage(), dry_run=dry_run)
