"""Datasets: checked rows under their content hash, so that the same rows are stored once."""

import secrets
from dataclasses import dataclass

from sqlalchemy import and_, func, or_, select
from sqlalchemy.orm import Session

from app.config import Limits
from app.contracts.rows import content_hash, dump_rows
from app.database import transaction
from app.datasets.raw import RawRow
from app.datasets.validation import CheckedRows, check_rows
from app.errors import ServiceError, not_found
from app.idempotency import forget
from app.paging import unknown_cursor
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


def prepare_rows(rows: list[RawRow], test: list[RawRow], limits: Limits) -> PreparedRows:
    """Raises `ServiceError` 422 for rows that cannot be used. Stores nothing."""
    checked = check_rows(rows, test, limits)
    content, test_content = dump_rows(checked.rows), dump_rows(checked.test)
    return PreparedRows(checked, content, test_content, content_hash(content, test_content))


def store_rows(session: Session, prepared: PreparedRows, storage: BlobStore) -> Dataset:
    """Rows that are stored already are found again, and kept from being deleted before the transaction ends.

    The warnings of a dataset that is found again become those of this upload: its duplicates, say, are not those of the first.
    """
    checked, found = prepared.checked, prepared.content_hash
    hold_dataset_content(session, found)
    _write_blobs(storage, found, prepared.content, prepared.test_content)
    existing = _by_hash(session, found)
    if existing is None:
        dataset = _record(checked, found)
        session.add(dataset)
        session.flush()
        return dataset
    existing.warnings, existing.rows_removed_at = checked.warnings, None
    return existing


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
        dataset = session.scalar(query) if _storable(dataset_id) else None
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
    query = select(Dataset).order_by(Dataset.created_at.desc(), Dataset.id.desc()).limit(limit + 1)
    if after is not None:
        last = _by_id(session, after)
        if last is None:
            raise unknown_cursor(after[:60])
        same_time = and_(Dataset.created_at == last.created_at, Dataset.id < last.id)
        query = query.where(or_(Dataset.created_at < last.created_at, same_time))
    found = list(session.scalars(query))
    return found[:limit], len(found) > limit


def _record(checked: CheckedRows, content_hash: str) -> Dataset:
    return Dataset(
        id=f"ds_{secrets.token_hex(8)}",
        content_hash=content_hash,
        rows=len(checked.rows),
        test_rows=len(checked.test),
        label_counts=checked.label_counts,
        mean_chars=checked.mean_chars,
        warnings=checked.warnings,
    )


def _storable(dataset_id: str) -> bool:
    """PostgreSQL refuses to look for a text that holds a NUL or half a surrogate pair."""
    return dataset_id.isascii() and dataset_id.isprintable()


def _by_id(session: Session, dataset_id: str, *, keep: bool = False) -> Dataset | None:
    query = select(Dataset).where(Dataset.id == dataset_id)
    return session.scalar(query.with_for_update(read=True, key_share=True) if keep else query) if _storable(dataset_id) else None


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
