"""`/v1/fine_tuning/jobs`."""

from collections.abc import Callable
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Query, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import StreamingResponse
from pydantic import ValidationError

from app.config import get_settings
from app.database import ReadSessionDep, SessionDep
from app.datasets.uploads import read_json
from app.jobs.openapi import NO_JOB, NO_PLACE
from app.jobs.routes import Published
from app.jobs.views import stage_history
from app.openapi import Responses, inlined
from app.paging import PageLimit
from app.protocols.openai import jobs
from app.protocols.openai.errors import OpenAiRoute, errors, invalid_fields
from app.protocols.openai.job_requests import CreateJob
from app.protocols.openai.job_schemas import Checkpoint, CursorPage, FineTuningEvent, FineTuningJob
from app.protocols.openai.job_views import job_view
from app.protocols.openai.streams import EVENT_STREAM

router = APIRouter(prefix="/fine_tuning/jobs", route_class=OpenAiRoute)

JobId = Annotated[str, Path(description="`ftjob-...`")]
After = Annotated[str | None, Query(description="Id of the last one seen.")]
_UNKNOWN_AFTER = "An unknown cursor, or a value out of range."
_NO_ROOM = "The project's quota of rows or bytes is full."
_BODY = {"requestBody": {"required": True, "content": {"application/json": {"schema": inlined(CreateJob)}}}}
_EVENTS: Responses = {
    200: {"description": "A page of events; with `stream` all of them, until the job has ended.", "content": EVENT_STREAM}
}


def _metadata(request: Request) -> dict[str, str] | None:
    return jobs.metadata_filter(dict(request.query_params))


@router.post(
    "",
    openapi_extra=_BODY,
    responses=errors(
        _400="A parameter that is unknown, out of range or not offered; `param` names it.",
        _403=_NO_ROOM,
        _413="The body is larger than the limit.",
        _422="The examples make no classifier: too few of a label, say.",
        _429=NO_PLACE,
    ),
)
async def create_job(request: Request) -> FineTuningJob:
    """Starts a distillation. `model` is a preset; the student is named by `suffix`."""
    body = await read_json(request, get_settings().limits)
    try:
        wanted = CreateJob.model_validate(body)
    except ValidationError as error:
        raise invalid_fields(error) from None
    return await run_in_threadpool(jobs.create_job, wanted)


@router.get("", responses=errors(_400=_UNKNOWN_AFTER))
def list_jobs(
    session: ReadSessionDep,
    published: Published,
    limit: PageLimit,
    metadata: Annotated[dict[str, str] | None, Depends(_metadata)],
    after: After = None,
) -> CursorPage[FineTuningJob]:
    """Jobs that were made here, the newest first. `metadata[name]=value` filters, `metadata=null` wants those without any."""
    found, has_more = jobs.list_jobs(session, limit=limit, after=after, metadata=metadata)
    history = stage_history(session)
    _notice(published, found)
    return CursorPage[FineTuningJob](data=[job_view(row, job, history) for row, job in found], has_more=has_more)


@router.get("/{fine_tuning_job_id}", responses=errors(_404=NO_JOB))
def retrieve_job(fine_tuning_job_id: JobId, session: ReadSessionDep, published: Published) -> FineTuningJob:
    """The job as it stands, with its model once it has succeeded."""
    found = jobs.find(session, fine_tuning_job_id)
    _notice(published, [found])
    return jobs.view(session, found)


@router.post("/{fine_tuning_job_id}/cancel", responses=errors(_404=NO_JOB, _409="It has succeeded or failed."))
def cancel_job(fine_tuning_job_id: JobId, session: SessionDep) -> FineTuningJob:
    """Stops it within seconds."""
    return jobs.view(session, jobs.cancel(session, fine_tuning_job_id))


@router.post("/{fine_tuning_job_id}/pause", responses=errors(_404=NO_JOB, _409="It has ended."))
def pause_job(fine_tuning_job_id: JobId, session: SessionDep) -> FineTuningJob:
    """Stops it within seconds, to go on after the last finished stage when it is resumed."""
    return jobs.view(session, jobs.pause(session, fine_tuning_job_id))


@router.post(
    "/{fine_tuning_job_id}/resume",
    responses=errors(_403=_NO_ROOM, _404=NO_JOB, _409="It is at work, has succeeded, or is still stopping.", _429=NO_PLACE),
)
def resume_job(fine_tuning_job_id: JobId, session: SessionDep) -> FineTuningJob:
    """Goes on after the last finished stage; also with a job that was cancelled or has failed."""
    return jobs.view(session, jobs.resume(session, fine_tuning_job_id))


@router.get(
    "/{fine_tuning_job_id}/events",
    response_model=CursorPage[FineTuningEvent],
    responses={**_EVENTS, **errors(_400=_UNKNOWN_AFTER, _404=NO_JOB)},
)
def list_events(
    fine_tuning_job_id: JobId,
    session: ReadSessionDep,
    published: Published,
    limit: PageLimit,
    after: After = None,
    stream: Annotated[bool, Query(description="Server-Sent Events, the oldest first, until the job has ended.")] = False,
) -> Any:
    """What happened to the job, the newest first."""
    if stream:
        own_id = jobs.find(session, fine_tuning_job_id)[1].id
        headers = {"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}
        return StreamingResponse(jobs.stream_events(own_id, published), media_type="text/event-stream", headers=headers)
    page = jobs.events(session, fine_tuning_job_id, limit=limit, after=after)
    _notice(published, [jobs.find(session, fine_tuning_job_id)])  # read again: it must be no older than its events
    return page


@router.get("/{fine_tuning_job_id}/checkpoints", responses=errors(_400=_UNKNOWN_AFTER, _404=NO_JOB))
def list_checkpoints(
    fine_tuning_job_id: JobId, session: ReadSessionDep, published: Published, limit: PageLimit, after: After = None
) -> CursorPage[Checkpoint]:
    """The published student, once there is one."""
    found = jobs.find(session, fine_tuning_job_id)
    _notice(published, [found])
    return jobs.list_checkpoints(found[1], after)


def _notice(published: Callable[[Any], None], found: list[jobs.Found]) -> None:
    """Before a caller hears of a student, predictions know it."""
    for _, job in found:
        published(job)
