"""Jobs with `privacy.keep_rows: false`: their rows, and all that repeats them, are removed once they have succeeded.

What stays: the student, the report and what tells of them, the teacher, and the students beside the published one. A job that failed or
was cancelled keeps its rows, as it may be resumed, until it is deleted.

Blobs go before the database says so. So what a crash interrupts is done again, and nothing is said to be gone that is there.
"""

from enum import StrEnum

from sqlalchemy import and_, delete, or_, select, update
from sqlalchemy.orm import Session

from app.contracts.stages import JobStatus, Stage
from app.database import read_session_factory, transaction
from app.errors import ServiceError
from app.jobs.lifecycle import lock_job, record_event, stage_runs
from app.ownership import every_project
from app.references import artefacts_in_use, hold_dataset_content
from app.storage import BlobStore
from app.tables import Dataset, Event, Job, StageRun, utcnow

REPEATING = (Stage.FINETUNE_GENERATOR, Stage.GENERATE, Stage.LABEL)
"""Stages that make what holds rows, or can recite them: the generator; its texts, copies of rows among them; the transfer set."""
_LISTED = 5


class RowRemoval(StrEnum):
    """Of a job that is not to keep its rows; null of any other. `due` until nothing is left that only such jobs used."""

    DUE = "due"
    DONE = "done"


def leaves_no_rows(job: Job) -> bool:
    """Whether its rows and texts are gone, or about to."""
    return job.rows_removal is not None and job.status == JobStatus.SUCCEEDED


def check_rows_there(dataset: Dataset) -> None:
    """Raises `ServiceError` 409. Of a dataset that is kept from being deleted, this holds until the transaction ends."""
    if dataset.rows_removed_at is not None:
        detail = (
            f"The rows of dataset {dataset.id} were removed {dataset.rows_removed_at:%Y-%m-%d %H:%M} UTC, as a job made from them asked."
        )
        raise ServiceError(409, "rows-removed", detail, remedy="POST the rows again; the same rows get the same dataset.")


@every_project()
def due_removals(session: Session) -> list[tuple[str, str]]:
    """Ids of the jobs whose rows can go now, but for those that other jobs need, behind their projects."""
    due = (Job.rows_removal == RowRemoval.DUE, Job.status == JobStatus.SUCCEEDED)
    return [(project, job) for project, job in session.execute(select(Job.project_id, Job.id).where(*due).order_by(Job.created_at))]


def remove_rows(job_id: str, storage: BlobStore) -> bool:
    """Removes what a job that has succeeded is not to leave behind, but for what other jobs use; whether all of it is gone.

    Called again it goes on with what was left. Raises what the store raises.
    """
    with read_session_factory()() as session:
        runs = stage_runs(session, job_id)
        made = {run.artefact_key for run in runs if run.artefact_key}
        keys = {run.artefact_key for run in runs if run.artefact_key and run.stage in REPEATING}
        shared = artefacts_in_use(session, keys, but_for=job_id)
        job = session.get(Job, job_id)
        if job is not None and not keys and _users(session, job):  # nothing has changed since the last time
            return False
    for key in sorted(keys - shared):
        storage.drop(key)
    for key in sorted(made):  # an attempt that found its artefact made by another leaves its own behind
        storage.delete_checkpoint(key)
    with transaction() as session:
        job = lock_job(session, job_id)
        if job is None or job.rows_removal != RowRemoval.DUE or job.status != JobStatus.SUCCEEDED:
            return job is None or job.rows_removal == RowRemoval.DONE
        users = drop_rows(session, job, storage)
        named = (StageRun.job_id == job.id, StageRun.stage.in_(REPEATING), StageRun.artefact_key.is_not(None))
        session.execute(update(StageRun).where(*named).values(artefact_key=None))
        session.execute(delete(Event).where(Event.job_id == job.id, Event.type == "sample"))
        if keys or not users:
            _tell(session, job, users, [run.stage for run in runs if run.artefact_key in shared])
        if not users:
            job.rows_removal = RowRemoval.DONE
        return not users


def drop_rows(session: Session, job: Job, storage: BlobStore) -> list[str]:
    """Removes the rows that the job was made from unless other jobs need them; the ids of these. The caller commits."""
    dataset = session.get_one(Dataset, job.dataset_id)
    hold_dataset_content(session, dataset.content_hash)
    session.refresh(dataset, with_for_update=True)
    users = _users(session, job)
    if not users and dataset.rows_removed_at is None:
        storage.delete_dataset(dataset.content_hash)
        dataset.rows_removed_at = utcnow()
    return users


def _users(session: Session, job: Job) -> list[str]:
    """Other jobs that need its rows: those that keep them, and those that have yet to succeed, if only once they are resumed."""
    needing = or_(Job.rows_removal.is_(None), and_(Job.rows_removal == RowRemoval.DUE, Job.status != JobStatus.SUCCEEDED))
    others = select(Job.id).where(Job.dataset_id == job.dataset_id, Job.id != job.id, needing)
    return list(session.scalars(others.order_by(Job.created_at)))


def _tell(session: Session, job: Job, users: list[str], shared: list[str]) -> None:
    kept = [f"what other jobs use too of {', '.join(shared)}"] if shared else []
    if users:
        more = f" and {len(users) - _LISTED} more" if len(users) > _LISTED else ""
        kept.append(f"the rows, until {', '.join(users[:_LISTED])}{more} need them no longer")
    said = "transfer set, generated texts and generator removed" if users else "rows, transfer set, generated texts and generator removed"
    record_event(session, job.id, "rows_removed", f"{said}; still there: {'; '.join(kept)}" if kept else said, users=users, shared=shared)
    if kept and not any("privacy.keep_rows" in warning for warning in job.warnings):
        job.warnings = [*job.warnings, f"privacy.keep_rows is false, and these stay: {'; '.join(kept)}."]
