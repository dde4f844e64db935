"""`/ui/jobs/{id}`: a job as it runs, and the part of its page that is asked again while it does."""

from fastapi import Request, Response

from app.contracts.stages import JobStatus
from app.database import ReadSessionDep
from app.jobs import service
from app.web.lists import job_lines
from app.web.rendering import page, page_router

SPEC_AT_FAULT = frozenset({"diverged", "invalid-spec", "model-unavailable", "out-of-memory", "parity"})
"""Types of failures that the same spec meets again, so that to resume the job is not what helps first."""

router = page_router()


@router.get("/ui/jobs/{job_id}")
def job_page(job_id: str, request: Request, session: ReadSessionDep) -> Response:
    return _page(job_id, request, session, "job.html")


@router.get("/ui/jobs/{job_id}/live")
def live_part(job_id: str, request: Request, session: ReadSessionDep) -> Response:
    """The page's changing part alone, which its script puts in place of the last one: stages are drawn by one template."""
    return _page(job_id, request, session, "job_live.html")


def _page(job_id: str, request: Request, session: ReadSessionDep, template: str) -> Response:
    found = service.get_job(session, job_id)
    (job,) = job_lines(session, [found])
    is_open = job.finished_at is None
    # A cancelled job has ended for its caller before its last stage has stopped.
    stopping = job.status == JobStatus.CANCELLED and is_open
    at_fault = job.error is not None and job.error.type in SPEC_AT_FAULT
    return page(request, template, job=job, dataset=found.dataset, is_open=is_open, stopping=stopping, spec_at_fault=at_fault)
