"""Datasets: checked rows under their content hash, so that the same rows are stored once."""

import secrets
from dataclasses import dataclass

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from app.config import Limits, get_settings
from app.contracts.rows import content_hash, dump_rows
from app.database import transaction
from app.datasets.raw import RawRow
from app.datasets.validation import CheckedRows, check_rows
from app.errors import ServiceError, not_found
from app.idempotency import forget
from app.lookups import newest_first, storable
from app.ownership import current_project
from app.quotas import check_rows as check_quotas
from app.references import drop_unused_dataset, hold_dataset_content
from app.storage import BlobStore
from app.tables import Dataset, Job

_LISTED_JOBS = 5


@dataclass(frozen=True, slots=True)
class PreparedRows:
    """Checked rows as they will be stored, and their hash."""

    checked: CheckedRows
    content: bytes
    test_content: bytes
    content_hash: str
    shared_hash: str | None

    @property
    def lineage_hash(self) -> str:
        """As a dataset's."""
        return self.shared_hash or self.content_hash

    @property
    def count(self) -> int:
        return len(self.checked.rows) + len(self.checked.test)

    @property
    def bytes(self) -> int:
        return len(self.content) + len(self.test_content)


def prepare_rows(rows: list[RawRow], test: list[RawRow], limits: Limits) -> PreparedRows:
    """Raises `ServiceError` 422 for rows that cannot be used. Stores nothing."""
    checked = check_rows(rows, test, limits)
    content, test_content = dump_rows(checked.rows), dump_rows(checked.test)
    shared = content_hash(content, test_content) if get_settings().reuse_across_projects else None
    return PreparedRows(checked, content, test_content, content_hash(content, test_content, current_project()), shared)


def store_rows(session: Session, prepared: PreparedRows, storage: BlobStore) -> Dataset:
    """Rows that are stored already are found again, and kept from being deleted before the transaction ends.

    The warnings of a dataset that is found again become those of this upload: its duplicates, say, are not those of the first.
    Raises `ServiceError` 403 if the project may not have so many more.
    """
    found = prepared.content_hash
    hold_dataset_content(session, found)
    existing = _by_hash(session, found)
    if existing is None or existing.rows_removed_at is not None:
        check_quotas(session, prepared.count, prepared.bytes)
    _write_blobs(storage, found, prepared.content, prepared.test_content)
    if existing is None:
        dataset = _record(prepared)
        session.add(dataset)
        session.flush()
        return dataset
    existing.warnings, existing.rows_removed_at = prepared.checked.warnings, None
    existing.bytes, existing.shared_hash = prepared.bytes, prepared.shared_hash
    return existing


def check_storable(session: Session, prepared: PreparedRows) -> int:
    """Raises what `store_rows` would, and stores nothing; the bytes that it would add."""
    stored = (Dataset.content_hash == prepared.content_hash, Dataset.rows_removed_at.is_(None))
    if session.scalar(select(Dataset.id).where(*stored)) is not None:
        return 0
    check_quotas(session, prepared.count, prepared.bytes, lock=False)
    return prepared.bytes


def get_dataset(session: Session, dataset_id: str, *, keep: bool = False) -> Dataset:
    """Raises `ServiceError` 404. With `keep` it cannot be deleted before the transaction ends."""
    dataset = _by_id(session, dataset_id, keep=keep)
    if dataset is None:
        raise _unknown(dataset_id)
    return dataset


def delete_dataset(dataset_id: str, storage: BlobStore) -> None:
    """Removes rows and blobs. Raises `ServiceError`: 404, or 409 while a job, ended or not, was made from it."""
    with transaction() as session:
        query = select(Dataset).where(Dataset.id == dataset_id).with_for_update()
        dataset = session.scalar(query) if storable(dataset_id) else None
        if dataset is None:
            raise _unknown(dataset_id)
        _check_unused(session, dataset)
        forget(session, dataset.id)
        session.delete(dataset)
    drop_unused_dataset(storage, dataset.content_hash)


def _check_unused(session: Session, dataset: Dataset) -> None:
    users = select(Job.id).where(Job.dataset_id == dataset.id)
    count = session.scalar(select(func.count()).select_from(users.subquery())) or 0
    if not count:
        return
    listed = list(session.scalars(users.order_by(Job.created_at.desc()).limit(_LISTED_JOBS)))
    more = f" and {count - len(listed)} more" if count > len(listed) else ""
    what = "1 job was" if count == 1 else f"{count} jobs were"
    detail = f"{what} made from this dataset: {', '.join(listed)}{more}."
    raise ServiceError(409, "dataset-in-use", detail, remedy="Delete these first: DELETE /jobs/{id}, once each has ended.")


def _unknown(dataset_id: str) -> ServiceError:
    return not_found("dataset", dataset_id[:60], remedy="POST the rows to /datasets, or list the datasets with GET /datasets.")


def list_datasets(session: Session, *, limit: int, after: str | None = None) -> tuple[list[Dataset], bool]:
    """A page of datasets, the newest first, and whether there are more. `after` is the id of the last one seen.

    Raises `ServiceError` 422 for an unknown `after`.
    """
    return newest_first(session, select(Dataset), Dataset, limit=limit, after=after)


def _record(prepared: PreparedRows) -> Dataset:
    checked = prepared.checked
    return Dataset(
        id=f"ds_{secrets.token_hex(8)}",
        content_hash=prepared.content_hash,
        shared_hash=prepared.shared_hash,
        rows=len(checked.rows),
        test_rows=len(checked.test),
        bytes=prepared.bytes,
        label_counts=checked.label_counts,
        mean_chars=checked.mean_chars,
        warnings=checked.warnings,
    )


def _by_id(session: Session, dataset_id: str, *, keep: bool = False) -> Dataset | None:
    query = select(Dataset).where(Dataset.id == dataset_id)
    return session.scalar(query.with_for_update(read=True, key_share=True) if keep else query) if storable(dataset_id) else None


def _by_hash(session: Session, content_hash: str) -> Dataset | None:
    """Kept from being deleted before the transaction ends."""
    query = select(Dataset).where(Dataset.content_hash == content_hash)
    return session.scalar(query.with_for_update(read=True, key_share=True))


def _write_blobs(storage: BlobStore, dataset: str, content: bytes, test_content: bytes) -> None:
    """Before the row, so that a row never names blobs that are not there; a blob without a row is harmless, and found again."""
    for name, blob in (("test.jsonl", test_content), ("rows.jsonl", content)):
        path = f"datasets/{dataset}/{name}"
        if blob and not _stored(storage, path, blob):
            storage.write(path, blob)


def _stored(storage: BlobStore, path: str, blob: bytes) -> bool:
    """As it should be: an upload of the same rows mends a damaged blob."""
    try:
        return storage.read(path) == blob
    except FileNotFoundError:
        return False
