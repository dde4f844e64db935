"""A job's events: pages of them, and a live stream."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable

from fastapi.sse import KEEPALIVE_COMMENT, format_sse_event
from sqlalchemy import select
from sqlalchemy.orm import Session
from starlette.concurrency import run_in_threadpool

from app.database import read_session_factory
from app.jobs.schemas import EventOut
from app.shutdown import stopping
from app.tables import Event, Job

POLL_SECONDS = 0.5
KEEPALIVE_SECONDS = 15.0
RETRY_MILLISECONDS = 2000
BATCH = 200


def list_events(session: Session, job_id: str, *, after: int, limit: int) -> tuple[list[EventOut], bool]:
    """Events with an id above `after`, oldest first, and whether there are more."""
    query = select(Event).where(Event.job_id == job_id, Event.id > after).order_by(Event.id).limit(limit + 1)
    found = [EventOut.model_validate(event, from_attributes=True) for event in session.scalars(query)]
    return found[:limit], len(found) > limit


async def stream_events(job_id: str, after: int, published: Callable[[Job], None]) -> AsyncIterator[bytes]:
    """Server-Sent Events, as `follow_events` has them."""
    yield format_sse_event(retry=RETRY_MILLISECONDS)
    async for event in follow_events(job_id, after, published):
        yield format_sse_event(data_str=event.model_dump_json(), event=event.type, id=str(event.id)) if event else KEEPALIVE_COMMENT


async def follow_events(job_id: str, after: int, published: Callable[[Job], None]) -> AsyncIterator[EventOut | None]:
    """Events from the one after `after`, as they come, None where there was none for long.

    `published` is called before the last one of a job that has succeeded. Ends when the job has ended or was deleted, or when the server
    stops: the reader comes again.
    """
    sent = time.monotonic()
    while True:
        events, is_over = await run_in_threadpool(_poll, job_id, after, published)
        for event in events:
            yield event
            after, sent = event.id, time.monotonic()
        if is_over or stopping.is_set():
            return
        if time.monotonic() - sent >= KEEPALIVE_SECONDS:
            yield None
            sent = time.monotonic()
        if len(events) < BATCH:
            await asyncio.sleep(POLL_SECONDS)


def _poll(job_id: str, after: int, published: Callable[[Job], None]) -> tuple[list[EventOut], bool]:
    with read_session_factory()() as session:
        # Asked before the events: if the job has ended by now, its last event is among those read next.
        is_open = session.scalar(select(Job.id).where(Job.id == job_id, Job.finished_at.is_(None))) is not None
        events, has_more = list_events(session, job_id, after=after, limit=BATCH)
        if any(event.type == "job_succeeded" for event in events) and (job := session.get(Job, job_id)):
            published(job)
    return events, not is_open and not has_more
