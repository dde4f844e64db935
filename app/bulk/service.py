"""Bulk predictions as rows and blobs: made, listed, cancelled, deleted."""

import secrets
from collections.abc import Mapping
from functools import partial
from typing import Any

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from app.audit import record
from app.bulk import lifecycle
from app.bulk.layout import Layout, added_columns
from app.bulk.reading import read_layout, scan
from app.bulk.schemas import BulkFault, BulkOptions, BulkOut, BulkProgress
from app.bulk.uploads import ReceivedFile
from app.config import Limits
from app.contracts.bulk import OPEN_BULK, BulkStatus
from app.contracts.students import StudentManifest
from app.database import read_session_factory, transaction
from app.errors import ServiceError, not_found
from app.idempotency import Ticket, earlier_answer, fingerprint, forget, keep_answer
from app.lookups import by_id, newest_first
from app.predictions.service import score_threshold
from app.queue import enqueue_bulk
from app.quotas import check_space
from app.references import removed
from app.storage import BlobStore
from app.students.service import find_student
from app.tables import BulkPrediction, Student, utcnow

_OPTION_FIELDS = {"top_k", "min_score", "min_precision", "out_of_scope"}


def check_student(options: BulkOptions) -> None:
    """Before the file is read. Raises `ServiceError`: 404 unknown, 422 no such threshold."""
    with read_session_factory()() as session:
        _threshold(find_student(session, options.student), options)


def submit(file: ReceivedFile, options: BulkOptions, key: str | None, *, limits: Limits, storage: BlobStore) -> tuple[dict[str, Any], bool]:
    """Checks the file, stores it and queues the work; returns the answer, and whether it is an earlier one's.

    Raises `ServiceError`: 400 and 422 a file or options that cannot be used, 403 no room in the project, 404 unknown student, 409 and 422
    about the idempotency key.
    """
    head = read_layout(file.path, filename=file.name, content_type=file.content_type, text_column=options.text_column)
    layout, rows = scan(file.path, head, limits)
    ticket = Ticket(key, fingerprint("POST", "/predictions", [options.model_dump(), file.sha256])) if key is not None else None
    id = f"bp_{secrets.token_hex(8)}"
    # Before the row, so that a row never names blobs that are not there, and in no transaction, as it may take long.
    storage.write_bulk_input(id, file.path)
    kept = False
    try:
        with transaction() as session:
            if ticket and (answer := earlier_answer(session, ticket)) is not None:
                return answer, True
            row = _create(session, id, file, options, layout, rows)
            answer = bulk_out(row).model_dump(mode="json")
            if ticket:
                keep_answer(session, ticket, id, answer)
        kept = True
        return answer, False
    finally:
        if not kept:
            removed(f"bulk prediction {id}", partial(storage.delete_bulk, id))


def get_bulk(session: Session, bulk_id: str) -> BulkPrediction:
    """Raises `ServiceError` 404."""
    found = by_id(session, BulkPrediction, bulk_id)
    if found is None:
        raise not_found("prediction", bulk_id[:60], remedy="GET /predictions lists them; POST /predictions makes one of a file.")
    return found


def list_bulk(session: Session, *, limit: int, after: str | None) -> tuple[list[BulkPrediction], bool]:
    """The newest first, and whether there are more. Raises `ServiceError` 422 for an unknown `after`."""
    return newest_first(session, select(BulkPrediction), BulkPrediction, limit=limit, after=after)


def cancel_bulk(session: Session, bulk_id: str) -> BulkPrediction:
    """Raises `ServiceError`: 404, or 409 if it has ended otherwise."""
    found = get_bulk(session, bulk_id)
    if lifecycle.cancel(session, bulk_id):
        record(session, "prediction.cancelled", bulk_id)
    else:
        session.refresh(found)
        if found.status != BulkStatus.CANCELLED:
            detail = f"The prediction {bulk_id} is {found.status} already."
            raise ServiceError(409, "prediction-ended", detail, remedy=f"Delete it with DELETE /predictions/{bulk_id}.")
    session.refresh(found)
    return found


def delete_bulk(bulk_id: str, storage: BlobStore) -> None:
    """Removes an ended one with its file and its result. Raises `ServiceError`: 404, or 409 before it has ended."""
    with transaction() as session:
        found = get_bulk(session, bulk_id)
        ended = delete(BulkPrediction).where(BulkPrediction.id == bulk_id, BulkPrediction.status.not_in(OPEN_BULK))
        if session.scalar(ended.returning(BulkPrediction.id), execution_options={"synchronize_session": False}) is None:
            remedy = f"Cancel it first: POST /predictions/{bulk_id}/cancel."
            raise ServiceError(409, "prediction-not-ended", f"The prediction {bulk_id} is {found.status}.", remedy=remedy)
        forget(session, bulk_id)
    removed(f"bulk prediction {bulk_id}", partial(storage.delete_bulk, bulk_id))


def bulk_out(row: BulkPrediction) -> BulkOut:
    layout = Layout.model_validate(row.layout)
    return BulkOut(
        id=row.id,
        student=row.student,
        version=row.version,
        status=BulkStatus(row.status),
        progress=BulkProgress(done=row.rows_done, total=row.rows),
        eta_seconds=_eta(row),
        threshold=row.threshold,
        options=row.options,
        columns=[*layout.columns, *result_columns(layout, row.options)],
        attempt=row.attempt,
        result_bytes=row.result_bytes,
        error=BulkFault.model_validate(row.error) if row.error else None,
        created_at=row.created_at,
        started_at=row.started_at,
        finished_at=row.finished_at,
    )


def result_columns(layout: Layout, options: Mapping[str, Any]) -> list[str]:
    """What the result adds to the file's columns."""
    return added_columns(layout.columns, scores=options["top_k"] > 1, out_of_scope=options["out_of_scope"])


def _create(session: Session, id: str, file: ReceivedFile, options: BulkOptions, layout: Layout, rows: int) -> BulkPrediction:
    check_space(session, file.bytes)
    # Kept from being deleted before the row names its artefact.
    found = find_student(session, options.student)
    student = session.scalar(select(Student).where(Student.id == found.id).with_for_update(read=True, key_share=True))
    if student is None:
        found = find_student(session, options.student)  # tells that it is gone
        student = session.get_one(Student, found.id, with_for_update={"read": True, "key_share": True})
    now = utcnow()
    row = BulkPrediction(
        id=id,
        student=student.name,
        version=student.version,
        artefact_key=student.artefact_key,
        options=options.model_dump(include=_OPTION_FIELDS),
        threshold=_threshold(student, options),
        layout=layout.model_dump(),
        input_hash=file.sha256,
        input_bytes=file.bytes,
        rows=rows,
        rows_done=0,
        rows_before=0,
        status=BulkStatus.QUEUED,
        attempt=0,
        created_at=now,
        queued_at=now,
    )
    session.add(row)
    session.flush()
    enqueue_bulk(session, id)
    return row


def _threshold(student: Student, options: BulkOptions) -> float | None:
    return score_threshold(StudentManifest.model_validate(student.manifest), options.answer_options)


def _eta(row: BulkPrediction) -> float | None:
    made = row.rows_done - row.rows_before
    if row.status != BulkStatus.RUNNING or made <= 0 or row.started_at is None or row.heartbeat_at is None:
        return None
    return (row.heartbeat_at - row.started_at).total_seconds() / made * (row.rows - row.rows_done)
