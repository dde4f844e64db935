"""A job's report: the page, and the same as one file that opens anywhere."""

from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import HTMLResponse
from markupsafe import Markup

from app.database import ReadSessionDep
from app.errors import ServiceError
from app.jobs import service
from app.jobs.openapi import NO_JOB
from app.jobs.reports import read_report
from app.openapi import problems
from app.tables import Job
from app.web.assets import assets
from app.web.rendering import environment, page, page_router
from app.web.report_view import report_view

router = page_router()
documents = APIRouter(prefix="/jobs", tags=["jobs"])

_NOT_THERE = {409, 410}
_FILE_POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
_STYLES = ("site.css", "report.css")


@router.get("/ui/jobs/{job_id}/report")
def show_report(job_id: str, request: Request, session: ReadSessionDep) -> Response:
    job = service.get_job(session, job_id)
    try:
        return page(request, "report.html", job=job, problem=None, **_told(job))
    except ServiceError as error:
        if error.problem.status not in _NOT_THERE:
            raise
        return page(request, "report.html", job=job, problem=error.problem)


@documents.get(
    "/{job_id}/report.html",
    response_class=HTMLResponse,
    responses={
        200: {
            "description": "The report with its pictures: one file without scripts that loads nothing from elsewhere.",
            "headers": {"Content-Disposition": {"description": "Its name, to save it under.", "schema": {"type": "string"}}},
        },
        **problems(
            _404=NO_JOB,
            _409="The job has not published yet.",
            _410="Its student was deleted.",
            _503="The blob store has lost the report.",
        ),
    },
)
def get_report_file(job_id: str, session: ReadSessionDep) -> HTMLResponse:
    """The job's report as a page to keep or to send: pictures, tables and the spec, in one self-contained file."""
    job = service.get_job(session, job_id)
    told = _told(job)
    # Of our own files, so nobody else's text is put in unescaped.
    styles = Markup("\n".join(assets().files[name].decode() for name in _STYLES))
    content = environment().get_template("report_file.html").render(job=job, styles=styles, policy=_FILE_POLICY, **told)
    name = f"{told['student'].name}-{told['student'].version}-report.html"
    headers = {
        "Content-Disposition": f'attachment; filename="{name}"',
        "Content-Security-Policy": _FILE_POLICY,
        "X-Content-Type-Options": "nosniff",
    }
    return HTMLResponse(content, headers=headers)


def _told(job: Job) -> dict[str, Any]:
    """What both templates show. Raises `ServiceError` where there is no report."""
    report = read_report(job)
    assert job.student is not None  # or there would be no report
    manifest = job.student.manifest
    return {
        "view": report_view(report, manifest),
        "student": job.student,
        "precision": manifest.get("precision"),
    }
