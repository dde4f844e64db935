"""The report of a job that has published."""

from app.contracts.report import Report
from app.contracts.stages import JobStatus
from app.contracts.students import REPORT_FILE
from app.errors import ServiceError
from app.jobs.synthetic import missing_artefact
from app.storage import TornArtefact, get_storage
from app.tables import Job


def read_report(job: Job) -> Report:
    """Raises `ServiceError`: 409 before the job has published, 410 once its student was deleted, 503 if the blob store has lost it."""
    if job.student is None and job.status == JobStatus.SUCCEEDED:
        detail = "The student that the job published was deleted, and the report with it."
        raise ServiceError(410, "student-deleted", detail, remedy="POST the job again: what it made on the way is there still.")
    if job.student is None:
        detail = f"The job's report is there once the job has succeeded; it is {job.status}."
        raise ServiceError(409, "report-not-ready", detail, remedy=f"See GET /jobs/{job.id} for its stages.")
    key = job.student.artefact_key
    try:
        return Report.model_validate_json(get_storage().read_verified(key, REPORT_FILE))
    except (FileNotFoundError, TornArtefact):
        raise missing_artefact(job, key) from None
