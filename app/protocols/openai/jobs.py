"""Fine-tuning jobs: jobs of the service, and what this protocol remembers of them beside."""

import secrets
from collections.abc import AsyncIterator, Callable

from fastapi.sse import KEEPALIVE_COMMENT, format_sse_event
from sqlalchemy import String, cast, select, tuple_
from sqlalchemy.orm import Session, selectinload

from app.config import get_settings
from app.database import read_session_factory, transaction
from app.datasets.service import prepare_rows, store_rows
from app.errors import ServiceError
from app.jobs import service
from app.jobs.events import follow_events
from app.jobs.lifecycle import OPEN_JOB, lock_job
from app.jobs.schemas import EventOut
from app.jobs.views import stage_history
from app.protocols.openai.errors import refusal
from app.protocols.openai.files import read_rows
from app.protocols.openai.job_requests import CreateJob, job_spec
from app.protocols.openai.job_schemas import Checkpoint, CursorPage, FineTuningEvent, FineTuningJob
from app.protocols.openai.job_views import checkpoints, event_view, job_view
from app.protocols.openai.names import EVENT, job_id, student_name
from app.protocols.openai.streams import DONE
from app.storage import get_storage
from app.tables import Event, Job, OpenAiJob

Found = tuple[OpenAiJob, Job]
Published = Callable[[Job], None]
_NO_METADATA = "null"


def create_job(body: CreateJob) -> FineTuningJob:
    """Raises `ServiceError`: 400 for a parameter, 422 for rows that make no classifier."""
    spec, limits = job_spec(body), get_settings().limits
    with read_session_factory()() as session:
        rows = read_rows(session, body.training_file, "training_file", limits)
        test = read_rows(session, body.validation_file, "validation_file", limits) if body.validation_file is not None else []
    prepared = prepare_rows(rows, test, limits)
    with transaction() as session:
        job = service.create_job(
            session,
            name=student_name(body.suffix, f"ft-{secrets.token_hex(4)}"),
            dataset=store_rows(session, prepared, get_storage()),
            preset=body.model,
            spec=spec,
            # A suffix belongs to nobody in this protocol: each job makes a model of its own, which is named by its version.
            replace_dataset=True,
        )
        tags = dict(body.metadata or {})
        row = OpenAiJob(job_id=job.id, training_file=body.training_file, validation_file=body.validation_file, tags=tags, paused=False)
        session.add(row)
        session.flush()
        return job_view(row, job, stage_history(session))


def find(session: Session, identifier: str) -> Found:
    """Raises `ServiceError` 404."""
    own = job_id(identifier)
    row = session.get(OpenAiJob, own) if own else None
    if row is None:
        remedy = "GET /v1/fine_tuning/jobs lists those that were made here."
        raise refusal("fine_tuning_job_id", f"There is no fine-tuning job {identifier[:60]!r}.", remedy, status=404, code="job_not_found")
    return row, service.get_job(session, row.job_id)


def list_jobs(session: Session, *, limit: int, after: str | None, metadata: dict[str, str] | None) -> tuple[list[Found], bool]:
    """Newest first, and whether there are more. `metadata`: what those listed have; empty: those that have none."""
    query = select(OpenAiJob).join(Job, Job.id == OpenAiJob.job_id).order_by(Job.created_at.desc(), Job.id.desc()).limit(limit + 1)
    if after is not None:
        try:
            anchor = find(session, after)[1]
        except ServiceError:
            raise refusal("after", f"There is no job {after[:60]!r} to go on after.", "Pass the id of the last job seen.") from None
        query = query.where(tuple_(Job.created_at, Job.id) < (anchor.created_at, anchor.id))
    if metadata == {}:
        query = query.where(cast(OpenAiJob.tags, String) == "{}")
    for name, value in (metadata or {}).items():
        query = query.where(OpenAiJob.tags[name].as_string() == value)
    rows = list(session.scalars(query))
    shown = select(Job).where(Job.id.in_([row.job_id for row in rows[:limit]]))
    parts = (selectinload(part) for part in (Job.stages, Job.shards, Job.student, Job.dataset))
    jobs = {job.id: job for job in session.scalars(shown.options(*parts))}
    return [(row, jobs[row.job_id]) for row in rows[:limit] if row.job_id in jobs], len(rows) > limit


def cancel(session: Session, identifier: str) -> Found:
    """A paused job too. Raises `ServiceError`: 404, 409 if it has succeeded or failed."""
    row, _ = find(session, identifier)
    job = service.cancel(session, row.job_id)
    row.paused = False
    return row, job


def pause(session: Session, identifier: str) -> Found:
    """Cancels the job, whose finished stages stay. Raises `ServiceError`: 404, 409 unless it is queued, runs, or is paused."""
    row, _ = find(session, identifier)
    job = lock_job(session, row.job_id)
    if job is None or job.status not in OPEN_JOB:
        if job is not None and row.paused:
            return row, service.get_job(session, row.job_id)
        detail = f"The job has {job.status} already." if job is not None else "The job was deleted."
        raise refusal(None, detail, "Only a job that is queued or runs can be paused.", status=409, code="job_not_pausable")
    paused = service.cancel(session, row.job_id)
    row.paused = True
    return row, paused


def resume(session: Session, identifier: str) -> Found:
    """After the last finished stage; also a job that was cancelled, or has failed. Raises `ServiceError`: 404, 409."""
    row, _ = find(session, identifier)
    return row, service.resume(session, row.job_id)


def events(session: Session, identifier: str, *, limit: int, after: str | None) -> CursorPage[FineTuningEvent]:
    """The newest first, as that API has them."""
    row, _ = find(session, identifier)
    query = select(Event).where(Event.job_id == row.job_id).order_by(Event.id.desc()).limit(limit + 1)
    if after is not None:
        query = query.where(Event.id < _event_id(after))
    found = [event_view(EventOut.model_validate(event, from_attributes=True)) for event in session.scalars(query)]
    return CursorPage[FineTuningEvent](data=found[:limit], has_more=len(found) > limit)


def list_checkpoints(job: Job, after: str | None) -> CursorPage[Checkpoint]:
    found = checkpoints(job)
    if after is not None and after not in [item.id for item in found]:
        raise refusal("after", f"There is no checkpoint {after[:60]!r} to go on after.", "Pass the id of the last one seen.")
    return CursorPage[Checkpoint](data=[] if after else found, has_more=False)


async def stream_events(own_id: str, published: Published) -> AsyncIterator[bytes]:
    """Events as they come, the oldest first, each as a message of Server-Sent Events; ends when the job has, or when the server stops."""
    async for event in follow_events(own_id, 0, published):
        yield format_sse_event(data_str=event_view(event).model_dump_json()) if event else KEEPALIVE_COMMENT
    yield DONE


def metadata_filter(query: dict[str, str]) -> dict[str, str] | None:
    """Of `metadata[name]=value`; empty for `metadata=null`, None if nothing of the kind is asked for. Raises `ServiceError` 400."""
    wanted = {name[len("metadata[") : -1]: value for name, value in query.items() if name.startswith("metadata[") and name.endswith("]")}
    for name, value in wanted.items():
        # Neither database can look for a NUL, nor for a name with a quote in it.
        if "\x00" in f"{name}{value}" or '"' in name or "\\" in name:
            raise refusal("metadata", f"{name[:64]!r} cannot be looked for.", "Filter by another name.")
    if "metadata" in query and query["metadata"] != _NO_METADATA:
        raise refusal("metadata", "It is no filter.", "Send metadata[name]=value, or metadata=null.")
    return {} if "metadata" in query else wanted or None


def _event_id(identifier: str) -> int:
    number = identifier.removeprefix(EVENT)
    if not (identifier.startswith(EVENT) and number.isascii() and number.isdigit() and len(number) < 19):
        raise refusal("after", f"There is no event {identifier[:60]!r} to go on after.", "Pass the id of the last event seen.")
    return int(number)


def view(session: Session, found: Found) -> FineTuningJob:
    row, job = found
    return job_view(row, job, stage_history(session))
