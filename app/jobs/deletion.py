"""DELETE /jobs/{id}."""

from sqlalchemy import delete, select

from app.contracts.stages import StageStatus
from app.database import transaction
from app.errors import ServiceError, not_found
from app.idempotency import forget
from app.jobs.lifecycle import OPEN_JOB, lock_job, stage_runs
from app.jobs.row_removal import RowRemoval, drop_rows
from app.lookups import storable
from app.references import drop_unused_artefacts
from app.storage import BlobStore
from app.tables import Event, StageRun, Student


def delete_job(job_id: str, storage: BlobStore) -> None:
    """Removes the job, its stages and events, and the artefacts that no other job or student uses.

    Raises `ServiceError`: 404, or 409 while it is not at its end, or the student that it published is there.
    """
    with transaction() as session:
        job = lock_job(session, job_id) if storable(job_id) else None
        if job is None:
            raise not_found("job", job_id[:60], "GET /jobs lists them.")
        if job.status in OPEN_JOB:
            raise ServiceError(409, "job-running", f"The job is {job.status}.", remedy=f"Cancel it first: POST /jobs/{job.id}/cancel.")
        runs = stage_runs(session, job.id)
        if busy := [run.stage for run in runs if run.status == StageStatus.RUNNING]:
            detail = f"The job's {busy[0]} is still running and is being stopped."
            raise ServiceError(409, "job-running", detail, remedy="Try again in a few seconds.", headers={"Retry-After": "5"})
        student = session.scalar(select(Student).where(Student.job_id == job.id))
        if student is not None:
            detail = f"The job's student {student.name}:{student.version} is published, and tells by this job what it was made from."
            remedy = f"Delete the student first: DELETE /students/{student.name}/versions/{student.version}."
            raise ServiceError(409, "job-published", detail, remedy=remedy)
        if job.rows_removal == RowRemoval.DUE:
            drop_rows(session, job, storage)
        keys = {run.artefact_key for run in runs if run.artefact_key}
        for table in (Event, StageRun):
            session.execute(delete(table).where(table.job_id == job.id))
        forget(session, job.id)
        session.delete(job)
    drop_unused_artefacts(storage, keys)
