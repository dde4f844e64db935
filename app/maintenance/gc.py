"""Garbage collection: blobs that no row names, and idempotency keys that have expired.

Only what is older than the grace time, as a stage stores its artefact before its row names it. Two at once do no harm.
"""

from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import datetime, timedelta
from functools import partial

from pydantic import ValidationError
from sqlalchemy import select
from sqlalchemy.orm import Session, selectinload

from app.audit import record
from app.config import get_settings
from app.contracts.reuse import expected_keys
from app.contracts.spec import JobSpec
from app.contracts.stages import JobStatus, Stage, StageStatus
from app.database import empty_write_ahead_log, read_session_factory, transaction
from app.idempotency import count_expired, remove_expired
from app.jobs.lifecycle import OPEN_JOB
from app.maintenance.schemas import Collection, Garbage
from app.ownership import every_project
from app.references import artefacts_in_use, bulk_in_use, datasets_in_use, drop_unused_dataset, removed
from app.storage import BlobStore, StoredArtefact, StoredFolder
from app.tables import Job, utcnow

_AT_ONCE = 500


@every_project()
def collect_garbage(storage: BlobStore, *, dry_run: bool) -> Collection:
    """Finds, and unless `dry_run` removes, what nothing uses. Raises what `STORAGE_AWAY` names."""
    grace = get_settings().gc_grace_seconds
    before = utcnow() - timedelta(seconds=grace)
    found = Collection(dry_run=dry_run, grace_seconds=grace)
    if dry_run:
        with read_session_factory()() as session:
            found.idempotency_keys = count_expired(session)
    else:
        with transaction() as session:
            found.idempotency_keys = remove_expired(session)
            record(session, "garbage.collected", "storage")

    def take(garbage: Garbage, what: str, name: str, size: int, remove: Callable[[], object]) -> None:
        if dry_run or removed(f"{what} {name}", remove):
            garbage.add(name, size)
            found.bytes += size
        else:
            found.failed += 1

    for artefact in _orphan_artefacts(storage, before):
        take(found.artefacts, "artefact", artefact.key, artefact.bytes, partial(storage.drop, artefact.key))
    for dataset in _orphan_datasets(storage, before):
        take(found.datasets, "dataset", dataset.key, dataset.bytes, partial(drop_unused_dataset, storage, dataset.key))
    for checkpoint in _orphan_checkpoints(storage, before):
        take(found.checkpoints, "checkpoint", checkpoint.key, checkpoint.bytes, partial(storage.delete_checkpoint, checkpoint.key))
    for bulk in _orphan_bulk(storage, before):
        take(found.bulk_predictions, "bulk prediction", bulk.key, bulk.bytes, partial(storage.delete_bulk, bulk.key))
    for blob in list(storage.temporary_files(before)):
        take(found.temporary_files, "temporary file", blob.name, blob.bytes, partial(storage.delete_temporary, blob.name))
    if not dry_run:
        storage.clean_cache(before)
        found.log_emptied = empty_write_ahead_log()
    return found


def _orphan_artefacts(storage: BlobStore, before: datetime) -> Iterator[StoredArtefact]:
    old = [found for found in storage.artefact_keys() if found.modified < before]
    # Asked just before each part is removed: a job may come to use one at any time.
    for start in range(0, len(old), _AT_ONCE):
        part = old[start : start + _AT_ONCE]
        with read_session_factory()() as session:
            used = artefacts_in_use(session, [found.key for found in part])
        yield from (found for found in part if found.key not in used)


def _orphan_datasets(storage: BlobStore, before: datetime) -> list[StoredFolder]:
    old = [found for found in storage.dataset_hashes() if found.modified < before]
    with read_session_factory()() as session:
        used = datasets_in_use(session, [found.key for found in old])
    return [found for found in old if found.key not in used]


def _orphan_bulk(storage: BlobStore, before: datetime) -> list[StoredFolder]:
    old = [found for found in storage.bulk_ids() if found.modified < before]
    with read_session_factory()() as session:
        used = bulk_in_use(session, [found.key for found in old])
    return [found for found in old if found.key not in used]


def _orphan_checkpoints(storage: BlobStore, before: datetime) -> list[StoredFolder]:
    old = [found for found in storage.checkpoint_keys() if found.modified < before]
    with read_session_factory()() as session:
        wanted, since = _unfinished_work(session)
    return [found for found in old if found.key not in wanted and (since is None or found.modified < since)]


def _unfinished_work(session: Session) -> tuple[set[str], datetime | None]:
    """Keys of the artefacts that jobs, also those that can be resumed, have yet to make, as far as they can be told.

    And the time since which open jobs may have left checkpoints under keys that cannot be told.
    """
    keys: set[str] = set()
    since: datetime | None = None
    unfinished = select(Job).where(Job.status != JobStatus.SUCCEEDED).order_by(Job.created_at)
    for job in session.scalars(unfinished.options(selectinload(Job.stages), selectinload(Job.dataset))):
        if since is None and job.status in OPEN_JOB:
            since = job.created_at
        done = {Stage(run.stage): run.artefact_key for run in job.stages if run.status == StageStatus.SUCCEEDED and run.artefact_key}
        with suppress(ValidationError):  # the spec of an earlier version, whose checkpoints are of no use
            expected = expected_keys(JobSpec.model_validate(job.spec), job.dataset.lineage_hash, done)
            keys.update(key for stage, key in expected.items() if key is not None and stage not in done)
    return keys, since
