"""Runs bulk predictions: a file's rows through a published student, as the API runs it. No torch.

The result is stored part by part, each under the rows that it is of. So an attempt goes on behind those that the one before has stored.
"""

import errno
import logging
import threading
from collections.abc import Iterator
from datetime import timedelta
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from sqlalchemy.exc import InterfaceError, OperationalError, SQLAlchemyError

from app.bulk import lifecycle
from app.config import Settings, get_settings
from app.contracts.bulk import BULK_QUEUE
from app.database import read_session_factory, transaction
from app.logs import QUIET, carried, context
from app.ownership import every_project, in_project
from app.queue import messages_waiting
from app.storage import BlobStore, file_sha256, get_storage
from app.tables import BulkPrediction
from app.tracebacks import WITHHELD, is_tellable, place_of
from workers.attempt import persist
from workers.runner import worker_name
from workers.scratch import Scratch
from workers.stopping import shutting_down

if TYPE_CHECKING:
    from app.bulk.reading import Record

logger = logging.getLogger(__name__)

PART_ROWS = 20_000
PART_CHARS = 8_000_000
"""A part of the result ends behind the rows that reach one of them, so memory does not grow with the file."""
_AT_ONCE = 1000
_CHARS_AT_ONCE = 1_000_000
_SCORES_AT_ONCE = 100_000


class _Stopped(Exception):
    """The row is not this worker's any more: cancelled, or taken from it."""


class _Released(Exception):
    """The worker is shutting down."""


class _DamagedInput(Exception):
    pass


def run_bulk_prediction(bulk_id: str | None = None) -> None:
    """Runs the one whose turn it is to its end, or the one that is named, out of its turn. Does nothing if it does not wait."""
    if shutting_down.is_set():
        return
    with every_project(), transaction() as session:
        chosen = bulk_id or lifecycle.next_in_turn(session)
        row = lifecycle.claim(session, chosen, worker_name()) if chosen else None
    if row is None:
        return
    settings = get_settings()
    with in_project(row.project_id), context(bulk=row.id, attempt=row.attempt):
        _run(row, settings)


def sweep_bulk_once(*, at_start: bool = False) -> int:
    """Takes bulk predictions from workers that died, and sends messages again that were lost; `at_start` those of all that wait."""
    worker = get_settings().worker
    with read_session_factory()() as session:
        count = lifecycle.waiting(session)
    complete = {BULK_QUEUE} if messages_waiting(BULK_QUEUE) >= count else set()
    lost_after = timedelta(seconds=worker.lost_after_seconds)
    with transaction() as session:
        resend_after = timedelta(0) if at_start else lost_after
        return lifecycle.sweep(session, lost_after, resend_after, worker.max_attempts, timedelta(seconds=worker.retry_seconds), complete)


class _Pulse:
    """A context manager around one attempt: a thread shows that it lives and how far it is, and learns whether to stop."""

    def __init__(self, bulk_id: str, attempt: int, every: float) -> None:
        self.done = self.before = 0
        self._id, self._attempt, self._every = bulk_id, attempt, every
        self._lost, self._ended = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=carried(self._beat), name="bulk-heartbeat", daemon=True)

    def __enter__(self) -> "_Pulse":
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._ended.set()
        self._thread.join()

    def check(self) -> None:
        if self._lost.is_set():
            raise _Stopped
        if shutting_down.is_set():
            raise _Released

    def _beat(self) -> None:
        while not self._ended.wait(self._every):
            try:
                with transaction() as session:
                    if not lifecycle.heartbeat(session, self._id, self._attempt, self.done, self.before):
                        self._lost.set()
                        return
            except SQLAlchemyError as error:  # the next beat tries again; the sweeper decides if the database stays away
                logger.warning("heartbeat of bulk prediction %s not written: %s", self._id, error)


def _run(row: BulkPrediction, settings: Settings) -> None:
    logger.info("bulk prediction with %s:%s begins: %s rows", row.student, row.version, row.rows)
    scratch = Scratch(settings.data_dir.resolve() / "work", row.id)
    storage = get_storage()
    try:
        with _Pulse(row.id, row.attempt, settings.worker.heartbeat_seconds) as pulse:
            scratch.make()
            parts, size = _predict(row, storage, scratch.out / "input", pulse)
        persist(lambda session: lifecycle.finish(session, row.id, row.attempt, rows=row.rows, parts=parts, result_bytes=size))
        logger.info("bulk prediction succeeded")
    except _Stopped:
        logger.info("bulk prediction was cancelled, or is another worker's")
    except _Released:
        logger.info("bulk prediction is given back")
        persist(lambda session: lifecycle.release(session, row.id, row.attempt))
    # Whatever is raised must end in the row, or its caller would wait for ever.
    except Exception as error:
        fault, retry = _classify(error)
        logger.exception("bulk prediction: %s", fault["type"], extra=QUIET)
        worker = settings.worker
        delay = timedelta(seconds=worker.retry_seconds)
        persist(
            lambda session: lifecycle.fail(session, row.id, row.attempt, fault, retry=retry, max_attempts=worker.max_attempts, delay=delay)
        )
    finally:
        scratch.remove()


def _predict(row: BulkPrediction, storage: BlobStore, path: Path, pulse: _Pulse) -> tuple[list[str], int]:
    """Names of the result's parts, in order, and their bytes together."""
    # Here, where they are needed: a worker that runs stages alone does without onnxruntime.
    from app.bulk.layout import Layout
    from app.bulk.reading import read_records
    from app.bulk.results import part_name, result_line
    from app.bulk.service import result_columns
    from app.predictions.runtime import load_student
    from app.predictions.schemas import AnswerOptions
    from app.predictions.service import answer

    _fetch_input(row, storage, path)
    storage.manifest(row.artefact_key)  # tells a store that is away from a student that is broken
    student = load_student(storage, row.artefact_key)
    layout, options = Layout.model_validate(row.layout), AnswerOptions(**row.options)
    added = result_columns(layout, row.options)
    names, size, before = _stored(storage, row.id)
    pulse.before = pulse.done = before
    records = read_records(path, layout)
    for number, _ in enumerate(islice(records, before)):
        if number % _AT_ONCE == 0:
            pulse.check()

    start, lines, chars = before, list[str](), 0

    def store() -> None:
        nonlocal start, lines, chars, size
        content = "".join(lines).encode()
        names.append(part_name(start, len(lines), content))
        storage.write_bulk_part(row.id, names[-1], content)
        start, size = start + len(lines), size + len(content)
        lines, chars = [], 0

    scores = min(options.top_k, len(student.manifest.labels))
    for some in _batches(records, max(1, min(_AT_ONCE, _SCORES_AT_ONCE // scores))):
        pulse.check()
        predictions = answer(student, [record.text for record in some], options)
        made = [result_line(layout, record, found, added, options) for record, found in zip(some, predictions, strict=True)]
        lines += made
        chars += sum(map(len, made))
        pulse.done += len(some)
        if len(lines) >= PART_ROWS or chars >= PART_CHARS:
            store()
    if lines:
        store()
    return names, size


def _stored(storage: BlobStore, bulk_id: str) -> tuple[list[str], int, int]:
    """Of the parts that earlier attempts have stored, from the first row on without a gap: their names, bytes and rows."""
    from app.bulk.results import part_rows

    by_start = {part_rows(blob.name)[0]: blob for blob in storage.bulk_parts(bulk_id)}
    names, size, rows = list[str](), 0, 0
    while (blob := by_start.get(rows)) is not None:
        names.append(blob.name)
        size += blob.bytes
        rows += part_rows(blob.name)[1]
    return names, size, rows


def _batches(records: "Iterator[Record]", most: int) -> "Iterator[list[Record]]":
    batch: list[Record] = []
    chars = 0
    for record in records:
        batch.append(record)
        chars += len(record.fields) if isinstance(record.fields, str) else sum(map(len, record.fields))
        if len(batch) >= most or chars >= _CHARS_AT_ONCE:
            yield batch
            batch, chars = [], 0
    if batch:
        yield batch


def _fetch_input(row: BulkPrediction, storage: BlobStore, path: Path) -> None:
    try:
        storage.read_bulk_input(row.id, path)
    except FileNotFoundError as error:
        raise _DamagedInput("The file that was sent is gone from the blob store.") from error
    if file_sha256(path) != row.input_hash:
        raise _DamagedInput("The file that was sent does not match its hash.")


def _classify(error: Exception) -> tuple[dict[str, Any], bool]:
    """What went wrong, and whether trying again may help."""
    from app.predictions.runtime import BrokenStudent

    again = "Send the file again."
    detail = (str(error) or type(error).__name__) if is_tellable(error) else WITHHELD
    match error:
        case _DamagedInput():
            return _fault("damaged-input", detail, f"Check the blob store. {again}"), False
        case BrokenStudent():
            remedy = "Restore the blob store, or send the file again with another version."
            return _fault("student-broken", f"The student cannot be used: {detail}", remedy), False
        case MemoryError():
            return _fault("out-of-memory", detail, f"Give the worker more memory. {again}"), True
        case OperationalError() | InterfaceError():
            return _fault("database-unavailable", "The database did not answer.", again), True
        case OSError() if error.errno == errno.ENOSPC:
            return _fault("disk-full", detail, f"Free some space. {again}"), False
        case OSError():
            return _fault("storage-unavailable", detail, f"Check the store and its permissions. {again}"), True
        case _:
            remedy = "The worker's log has the trace; please report it."
            return _fault("internal-error", f"{type(error).__name__} at {place_of(error)}: {detail}", remedy), False


def _fault(type: str, detail: str, remedy: str) -> dict[str, Any]:
    return {"type": type, "detail": detail, "remedy": remedy}
