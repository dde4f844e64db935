"""Which rows use which blobs, and the removal of blobs that no row uses.

Rows of all projects are looked at. A blob goes only after the commit that took its last row away. So a crash in between leaves an
orphan, which garbage collection finds, and never a row without its blob. A worker that has just found an artefact and not recorded it
yet makes it anew.
"""

import logging
from collections.abc import Callable, Collection, Iterable
from functools import partial

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from app.contracts.bulk import OPEN_BULK
from app.database import read_session_factory, transaction
from app.ownership import every_project
from app.storage import BlobStore
from app.tables import BulkPrediction, Dataset, StageRun, Student

logger = logging.getLogger(__name__)
_DATASET_CONTENT = 4_745_601
"""Class of the PostgreSQL advisory locks on datasets' contents; any number that no other lock has."""
_AT_ONCE = 500


def hold_dataset_content(session: Session, content_hash: str) -> None:
    """Until the transaction ends, nobody else stores or removes the blobs of these rows."""
    if session.get_bind().dialect.name == "postgresql":
        session.execute(select(func.pg_advisory_xact_lock(_DATASET_CONTENT, func.hashtext(content_hash))))
    else:
        session.connection()  # begins the transaction, and with it SQLite's one write lock


@every_project()
def artefacts_in_use(session: Session, keys: Collection[str], but_for: str = "") -> set[str]:
    """Those of `keys` that a stage run, ended or not, a student, or a bulk prediction that has not ended names.

    `but_for`: the id of a job whose stage runs do not count.
    """
    used: set[str] = set()
    listed = list(keys)
    for start in range(0, len(listed), _AT_ONCE):
        part = listed[start : start + _AT_ONCE]
        runs = (StageRun.artefact_key.in_(part), StageRun.job_id != but_for)
        used.update(key for key in session.scalars(select(StageRun.artefact_key).where(*runs)) if key)
        used.update(session.scalars(select(Student.artefact_key).where(Student.artefact_key.in_(part))))
        unfinished = (BulkPrediction.status.in_(OPEN_BULK), BulkPrediction.artefact_key.in_(part))
        used.update(session.scalars(select(BulkPrediction.artefact_key).where(*unfinished)))
    return used


@every_project()
def datasets_in_use(session: Session, hashes: Collection[str]) -> set[str]:
    """Those content hashes that a dataset has whose rows are to be there."""
    used: set[str] = set()
    listed = list(hashes)
    for start in range(0, len(listed), _AT_ONCE):
        part = (Dataset.content_hash.in_(listed[start : start + _AT_ONCE]), Dataset.rows_removed_at.is_(None))
        used.update(session.scalars(select(Dataset.content_hash).where(*part)))
    return used


@every_project()
def bulk_in_use(session: Session, ids: Collection[str]) -> set[str]:
    """Those ids that a bulk prediction, ended or not, has."""
    used: set[str] = set()
    listed = list(ids)
    for start in range(0, len(listed), _AT_ONCE):
        used.update(session.scalars(select(BulkPrediction.id).where(BulkPrediction.id.in_(listed[start : start + _AT_ONCE]))))
    return used


def drop_unused_artefacts(storage: BlobStore, keys: Iterable[str]) -> list[str]:
    """Removes those of `keys` that no row names now; returns them. A store that is away is no error: they are orphans then."""
    with read_session_factory()() as session:
        unused = sorted(set(keys) - artefacts_in_use(session, set(keys)))
    return [key for key in unused if removed(f"artefact {key}", partial(storage.drop, key))]


def drop_unused_dataset(storage: BlobStore, content_hash: str) -> bool:
    """Removes the rows' blobs unless a dataset has them (again); whether it did."""
    with transaction() as session:
        hold_dataset_content(session, content_hash)
        if datasets_in_use(session, [content_hash]):
            return False
        return removed(f"dataset {content_hash}", partial(storage.delete_dataset, content_hash))


def removed(what: str, remove: Callable[[], object]) -> bool:
    """Whether it worked. What cannot be removed now is found by the next garbage collection."""
    try:
        remove()
    except OSError as error:
        logger.warning("%s could not be removed, gc will: %s", what, error)
        return False
    return True
