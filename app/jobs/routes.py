"""`/jobs`: start a distillation, follow it, stop it, read what it made."""

from collections.abc import Callable
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Header, Query, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import JSONResponse
from fastapi.sse import EventSourceResponse

from app.contracts.report import Report
from app.contracts.stages import JobStatus
from app.database import ReadSessionDep, SessionDep
from app.idempotency import IdempotencyKeyHeader, checked_key
from app.jobs import service
from app.jobs.accepted import ACCEPTED, accepted
from app.jobs.deletion import delete_job
from app.jobs.dry_run import estimate
from app.jobs.events import list_events, stream_events
from app.jobs.openapi import EVENTS, JOB_BODY, NO_JOB, NO_PLACE
from app.jobs.reports import read_report
from app.jobs.schemas import EventOut, JobEstimate, JobOut
from app.jobs.submission import read_submission, submit
from app.jobs.text_routes import router as texts
from app.jobs.views import job_out, stage_history
from app.openapi import problems
from app.paging import LARGEST_ID, Page, PageLimit
from app.storage import get_storage
from app.tables import Job

router = APIRouter(prefix="/jobs", tags=["jobs"])


def _published(request: Request) -> Callable[[Job], None]:
    """To be called with a job before a caller hears of it: who reads that it has succeeded is answered by its student from then on."""
    notice: Callable[[str], None] = request.app.state.published

    def told(job: Job) -> None:
        if job.student is not None:
            notice(f"{job.student.name}:{job.student.version}")

    return told


Published = Annotated[Callable[[Job], None], Depends(_published)]


@router.post(
    "",
    status_code=202,
    response_model=JobOut,
    openapi_extra=JOB_BODY,
    responses={
        200: {"model": JobEstimate, "description": "With `dry_run`: what the job would take. Nothing is stored."},
        202: ACCEPTED,
        **problems(
            _400="The body cannot be read, or the Idempotency-Key is none.",
            _403="The project's quota of rows or bytes is full.",
            _404="There is no such dataset.",
            _409="The name belongs to another dataset, the dataset's rows were removed, or the same request is being worked on.",
            _413="The body is larger than the limit.",
            _415="Neither JSON nor multipart.",
            _422="Something in it is unknown, out of range or not usable; `errors` names field or row, and remedy. With `dry_run` also: "
            "it needs more memory than there is.",
            _429=NO_PLACE,
            _507="With `dry_run`: it needs more space than the blob store has.",
        ),
    },
)
async def post_job(
    request: Request,
    dry_run: Annotated[bool, Query(description="Only tell what the job would take, and whether it fits.")] = False,
    idempotency_key: IdempotencyKeyHeader = None,
) -> Response:
    """Starts a distillation of a dataset into a student of the given name."""
    key = checked_key(idempotency_key)
    submission = await read_submission(request)
    if dry_run:
        return JSONResponse((await run_in_threadpool(estimate, submission)).model_dump(mode="json"))
    return accepted("/jobs", *await run_in_threadpool(submit, submission, key))


@router.get("", responses=problems(_422="An unknown cursor, or a value out of range."))
def list_jobs(
    session: ReadSessionDep,
    published: Published,
    limit: PageLimit,
    after: Annotated[str | None, Query(description="Id of the last job seen.")] = None,
    status: JobStatus | None = None,
    name: str | None = None,
) -> Page[JobOut]:
    """Jobs, newest first."""
    jobs, has_more = service.list_jobs(session, limit=limit, after=after, status=status, name=name)
    for job in jobs:
        published(job)
    history = stage_history(session)
    items = [job_out(job, history) for job in jobs]
    return Page[JobOut](items=items, has_more=has_more, next_after=items[-1].id if has_more else None)


@router.delete(
    "/{job_id}", status_code=204, responses=problems(_404=NO_JOB, _409="The job has not ended, or the student that it published is there.")
)
def remove_job(job_id: str) -> None:
    """Removes an ended job, and what it made unless another job uses it too."""
    delete_job(job_id, get_storage())


@router.get("/{job_id}", responses=problems(_404=NO_JOB))
def get_job(job_id: str, session: ReadSessionDep, published: Published) -> JobOut:
    """The job with its stages, their progress and timing, and an estimate of what is left."""
    job = service.get_job(session, job_id)
    published(job)
    return job_out(job, stage_history(session))


@router.get(
    "/{job_id}/events",
    response_model=Page[EventOut],
    responses={**EVENTS, **problems(_404=NO_JOB)},
)
def get_events(
    job_id: str,
    session: ReadSessionDep,
    published: Published,
    limit: PageLimit,
    after: Annotated[int, Query(ge=0, le=LARGEST_ID, description="Id of the last event seen.")] = 0,
    accept: Annotated[str, Header(description="`text/event-stream` for a live stream.")] = "",
    last_event_id: Annotated[int | None, Header(ge=0, le=LARGEST_ID, description="Where a broken stream goes on.")] = None,
) -> Any:
    """What happened to the job, oldest first; live as Server-Sent Events on `Accept: text/event-stream`."""
    service.get_job(session, job_id)
    if "text/event-stream" in accept:
        headers = {"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}
        stream = stream_events(job_id, after if last_event_id is None else last_event_id, published)
        return EventSourceResponse(stream, headers=headers)
    events, has_more = list_events(session, job_id, after=after, limit=limit)
    published(service.get_job(session, job_id))  # read again: it must be no older than its events
    return Page[EventOut](items=events, has_more=has_more, next_after=events[-1].id if has_more else None)


@router.post("/{job_id}/cancel", status_code=202, responses=problems(_404=NO_JOB, _409="The job succeeded or failed before."))
def cancel_job(job_id: str, session: SessionDep) -> JobOut:
    """Stops the job: waiting stages at once, a running stage within seconds. `finished_at` is set when nothing runs any more."""
    return job_out(service.cancel(session, job_id), {})


@router.post(
    "/{job_id}/resume",
    status_code=202,
    responses=problems(
        _403="The project's quota of bytes is full.",
        _404=NO_JOB,
        _409="The job is not failed or cancelled, or still stops.",
        _429=NO_PLACE,
    ),
)
def resume_job(job_id: str, session: SessionDep) -> JobOut:
    """Goes on with a failed or cancelled job after its last finished stage."""
    return job_out(service.resume(session, job_id), stage_history(session))


@router.get(
    "/{job_id}/report",
    responses=problems(
        _404=NO_JOB, _409="The job has not published yet.", _410="Its student was deleted.", _503="The blob store has lost the report."
    ),
)
def get_report(job_id: str, session: ReadSessionDep) -> Report:
    """Teacher, student and baselines side by side on the same held-out rows."""
    return read_report(service.get_job(session, job_id))


router.include_router(texts)
