"""Datasets: checked rows under their content hash, so that the same rows are stored once."""

import hashlib
import secrets

from sqlalchemy import and_, or_, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from app.config import Limits
from app.contracts.rows import dump_rows
from app.datasets.raw import RawRow
from app.datasets.validation import CheckedRows, check_rows
from app.errors import not_found
from app.paging import unknown_cursor
from app.storage import BlobStore
from app.tables import Dataset


def create_dataset(session: Session, rows: list[RawRow], test: list[RawRow], *, limits: Limits, storage: BlobStore) -> Dataset:
    """Checks and stores rows, and `test` rows if the caller brings a holdout; rows that are stored already are found again.

    Raises `ServiceError` 422 for rows that cannot be used; then nothing has been written. The warnings of a dataset that is
    found again become those of this upload: its duplicates, say, are not those of the first.
    """
    checked = check_rows(rows, test, limits)
    content, test_content = dump_rows(checked.rows), dump_rows(checked.test)
    content_hash = hashlib.sha256(content + b"\0" + test_content).hexdigest()
    _write_blobs(storage, content_hash, content, test_content)
    existing = _by_hash(session, content_hash)
    if existing is None:
        try:
            with session.begin_nested():
                dataset = _record(checked, content_hash)
                session.add(dataset)
        except IntegrityError:  # another request stored the same rows a moment ago
            existing = _by_hash(session, content_hash)
            if existing is None:
                raise
        else:
            return dataset
    existing.warnings = checked.warnings
    return existing


def get_dataset(session: Session, dataset_id: str) -> Dataset:
    """Raises `ServiceError` 404."""
    dataset = _by_id(session, dataset_id)
    if dataset is None:
        raise not_found("dataset", dataset_id[:60], remedy="POST the rows to /datasets, or list the datasets with GET /datasets.")
    return dataset


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


def _by_id(session: Session, dataset_id: str) -> Dataset | None:
    # PostgreSQL refuses to look for a text that holds a NUL or half a surrogate pair.
    return session.get(Dataset, dataset_id) if dataset_id.isascii() and dataset_id.isprintable() else None


def _by_hash(session: Session, content_hash: str) -> Dataset | None:
    return session.scalar(select(Dataset).where(Dataset.content_hash == content_hash))


def _write_blobs(storage: BlobStore, content_hash: str, content: bytes, test_content: bytes) -> None:
    """Before the row, so that a row never names blobs that are not there; a blob without a row is harmless, and found again."""
    for name, blob in (("test.jsonl", test_content), ("rows.jsonl", content)):
        path = f"datasets/{content_hash}/{name}"
        if blob and not storage.exists(path):
            storage.write(path, blob)
