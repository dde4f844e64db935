"""What a worker has claimed, and how its end comes into the database."""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from sqlalchemy.exc import InterfaceError, OperationalError
from sqlalchemy.orm import Session

from app.config import get_settings
from app.contracts.stages import Stage
from app.database import transaction

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Attempt:
    """What a worker claimed: plain values, so that another process can take them over. `spec` as its row has it, unchecked."""

    project: str
    run_id: int
    attempt: int
    stage: Stage
    shard: int
    shrink: int
    job_id: str
    dataset_hash: str
    lineage_hash: str | None
    has_test: bool
    spec: dict[str, Any]
    done: dict[Stage, str]


def persist(change: Callable[[Session], object]) -> None:
    """Makes `change` in a transaction, and tries again while the database is away, until the sweeper has taken the stage anyway."""
    give_up = time.monotonic() + get_settings().worker.lost_after_seconds
    pause = 0.2
    while True:
        try:
            with transaction() as session:
                change(session)
            return
        except (OperationalError, InterfaceError) as error:
            if time.monotonic() + pause > give_up:
                raise
            logger.warning("database not reached, trying again in %.1f s: %s", pause, error)
            time.sleep(pause)
            pause = min(2 * pause, 5.0)
