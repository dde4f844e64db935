"""What may happen to a bulk prediction. Pure database code, shared by the API and the workers; the caller commits.

Each transition is one conditional UPDATE of its row. A worker's hold on the row is the pair of its id and `attempt`: a function that is
given an outdated attempt changes nothing, and says so.
"""

from collections.abc import Collection
from datetime import timedelta
from typing import Any

from sqlalchemy import ColumnElement, and_, func, or_, select, update
from sqlalchemy.orm import Session

from app.contracts.bulk import BULK_QUEUE, OPEN_BULK, BulkStatus
from app.jobs.fairness import first_in_turn
from app.ownership import every_project
from app.queue import enqueue_bulk
from app.tables import BulkPrediction, utcnow

_LOST_REMEDY = "See the worker's log (out of memory is the usual cause), then send the file again."


@every_project()
def next_in_turn(session: Session) -> str | None:
    """The id of the one whose turn it is, see `first_in_turn`. Claim it in the same transaction."""
    waits = (BulkPrediction.status == BulkStatus.QUEUED, BulkPrediction.not_before.is_(None))
    waiting = select(BulkPrediction.id, BulkPrediction.project_id).where(*waits)
    chosen = first_in_turn(session, BulkPrediction, waiting, (BulkPrediction.created_at, BulkPrediction.id))
    return None if chosen is None else chosen[0]


def claim(session: Session, bulk_id: str, worker: str) -> BulkPrediction | None:
    """Makes `worker` the owner of one that is queued; None if it is not to be had (any more)."""
    now = utcnow()
    due = or_(BulkPrediction.not_before.is_(None), BulkPrediction.not_before <= now)
    taken = _change(
        session,
        (BulkPrediction.id == bulk_id, BulkPrediction.status == BulkStatus.QUEUED, due),
        status=BulkStatus.RUNNING,
        attempt=BulkPrediction.attempt + 1,
        worker=worker,
        started_at=now,
        heartbeat_at=now,
        not_before=None,
    )
    return session.get_one(BulkPrediction, bulk_id, populate_existing=True) if taken else None


def heartbeat(session: Session, bulk_id: str, attempt: int, done: int, before: int) -> bool:
    """Shows that the worker lives, and how far it is; `before`: rows that this attempt found done. False if it should stop."""
    return _change(session, _held(bulk_id, attempt), heartbeat_at=utcnow(), rows_done=done, rows_before=before)


def finish(session: Session, bulk_id: str, attempt: int, *, rows: int, parts: list[str], result_bytes: int) -> bool:
    """All parts of the result are stored."""
    ended = {"status": BulkStatus.SUCCEEDED, "finished_at": utcnow(), "error": None}
    return _change(session, _held(bulk_id, attempt), **ended, rows_done=rows, parts=parts, result_bytes=result_bytes)


def fail(
    session: Session,
    bulk_id: str,
    attempt: int,
    error: dict[str, Any],
    *,
    retry: bool,
    max_attempts: int,
    delay: timedelta = timedelta(0),
) -> bool:
    """Queues it again (`retry`, and attempts are left; after `delay`, doubled with each attempt), or ends it."""
    if retry and attempt < max_attempts:
        return _requeue(session, _held(bulk_id, attempt), bulk_id, delay * 2 ** (attempt - 1), error=error)
    return _change(session, _held(bulk_id, attempt), status=BulkStatus.FAILED, finished_at=utcnow(), error=error)


def release(session: Session, bulk_id: str, attempt: int) -> bool:
    """A worker that shuts down gives it back; the attempt does not count."""
    return _requeue(session, _held(bulk_id, attempt), bulk_id, attempt=attempt - 1)


def cancel(session: Session, bulk_id: str) -> bool:
    """False if it has ended. A worker that runs it learns of it by its next heartbeat."""
    is_open = (BulkPrediction.id == bulk_id, BulkPrediction.status.in_(OPEN_BULK))
    return _change(session, is_open, status=BulkStatus.CANCELLED, finished_at=utcnow())


@every_project()
def sweep(
    session: Session,
    lost_after: timedelta,
    resend_after: timedelta,
    max_attempts: int,
    delay: timedelta = timedelta(0),
    complete: Collection[str] = (),
) -> int:
    """Takes work from workers that died, and sends messages again that were lost or whose delay is over; returns how many it mended.

    `complete`: queues in which there is a message for each that waits.
    """
    now = utcnow()
    dead = and_(BulkPrediction.status == BulkStatus.RUNNING, BulkPrediction.heartbeat_at < now - lost_after)
    unheard = and_(BulkPrediction.not_before.is_(None), BulkPrediction.queued_at < now - resend_after)
    overdue = BulkPrediction.not_before <= now
    if BULK_QUEUE not in complete:
        overdue = or_(overdue, unheard)
    idle = and_(BulkPrediction.status == BulkStatus.QUEUED, overdue)
    mended = 0
    for row in session.scalars(select(BulkPrediction).where(or_(dead, idle)).order_by(BulkPrediction.id)).all():
        same = (BulkPrediction.id == row.id, BulkPrediction.attempt == row.attempt)
        if row.status == BulkStatus.QUEUED:
            mended += _requeue(session, (*same, idle), row.id)
            continue
        silence = f"gave no sign of life for {lost_after.total_seconds():.0f} s in attempt {row.attempt}"
        error = {"type": "worker-lost", "detail": f"The worker {row.worker} {silence}.", "remedy": _LOST_REMEDY}
        if row.attempt < max_attempts:
            mended += _requeue(session, (*same, dead), row.id, delay * 2 ** (row.attempt - 1), error=error)
        else:
            mended += _change(session, (*same, dead), status=BulkStatus.FAILED, finished_at=now, error=error)
    return mended


@every_project()
def waiting(session: Session) -> int:
    """Those that wait for a worker, without those that wait for their time."""
    query = select(func.count()).select_from(BulkPrediction)
    return session.scalar(query.where(BulkPrediction.status == BulkStatus.QUEUED, BulkPrediction.not_before.is_(None))) or 0


def _held(bulk_id: str, attempt: int) -> tuple[ColumnElement[bool], ...]:
    return BulkPrediction.id == bulk_id, BulkPrediction.status == BulkStatus.RUNNING, BulkPrediction.attempt == attempt


def _requeue(
    session: Session, wanted: tuple[ColumnElement[bool], ...], bulk_id: str, delay: timedelta = timedelta(0), **changes: Any
) -> bool:
    """After a `delay` it is the sweeper that sends the message: Redis may lose what waits there."""
    now = utcnow()
    queued = _change(
        session, wanted, status=BulkStatus.QUEUED, queued_at=now, not_before=now + delay if delay else None, worker=None, **changes
    )
    if queued and not delay:
        enqueue_bulk(session, bulk_id)
    return queued


def _change(session: Session, wanted: tuple[ColumnElement[bool], ...], **changes: Any) -> bool:
    statement = update(BulkPrediction).where(*wanted).values(changes).returning(BulkPrediction.id)
    return session.scalar(statement, execution_options={"synchronize_session": False}) is not None
