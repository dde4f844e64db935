"""Files: uploads of examples, kept as they came, and the figures of a finished job as a file of results."""

import csv
import io
import secrets
import zlib
from dataclasses import dataclass
from typing import Literal

from pydantic import BaseModel, Field
from sqlalchemy import select, tuple_
from sqlalchemy.orm import Session, undefer

from app.config import Limits
from app.datasets.raw import RawRow
from app.datasets.validation import check_each_row
from app.errors import ServiceError
from app.jobs.reports import read_report
from app.jobs.service import get_job
from app.lookups import storable
from app.protocols.openai.errors import refusal
from app.protocols.openai.examples import read_examples
from app.protocols.openai.names import FILE, RESULTS, job_id, public_id
from app.quotas import check_space
from app.tables import Job, OpenAiFile, OpenAiJob

FINE_TUNE, FINE_TUNE_RESULTS = "fine-tune", "fine-tune-results"
Order = Literal["asc", "desc"]
_COLUMNS = ("classifier", "accuracy", "accuracy_low", "accuracy_high", "macro_f1", "macro_f1_low", "macro_f1_high", "agreement")
_COLUMNS_PLAIN = ("parameters", "bytes", "latency_ms")


class FileObject(BaseModel):
    id: str
    object: Literal["file"] = "file"
    bytes: int
    created_at: int = Field(description="Seconds since 1970, UTC.")
    filename: str
    purpose: str
    status: Literal["processed"] = "processed"
    expires_at: int | None = None


class FileList(BaseModel):
    object: Literal["list"] = "list"
    data: list[FileObject]
    first_id: str | None
    last_id: str | None
    has_more: bool


class FileDeleted(BaseModel):
    id: str
    object: Literal["file"] = "file"
    deleted: Literal[True] = True


@dataclass(frozen=True, slots=True)
class ReceivedFile:
    filename: str
    content: bytes


def create_file(session: Session, received: ReceivedFile, limits: Limits) -> FileObject:
    """Raises `ServiceError` that names the lines at fault, or 403 if the project has no room.

    Whether rows make a classifier is for the job to see, which joins two files.
    """
    check_each_row(read_examples(received.content, limits.max_rows), limits)
    check_space(session, len(received.content))
    file = OpenAiFile(
        id=f"{FILE}{secrets.token_hex(12)}",
        filename="".join(char for char in received.filename if char.isprintable())[:255] or "file.jsonl",
        size=len(received.content),
        content=zlib.compress(received.content, 1),
    )
    session.add(file)
    session.flush()
    return _view(file)


def list_files(session: Session, *, purpose: str | None, limit: int, after: str | None, order: Order) -> FileList:
    """Uploads. Raises `ServiceError` for an unknown `after`."""
    place = tuple_(OpenAiFile.created_at, OpenAiFile.id)
    newest_first = order == "desc"
    by = [column.desc() if newest_first else column.asc() for column in (OpenAiFile.created_at, OpenAiFile.id)]
    query = select(OpenAiFile).order_by(*by).limit(limit + 1)
    if after is not None:
        last = _upload(session, after)
        if last is None:
            raise refusal("after", f"There is no file {after[:60]!r} to go on after.", "Pass the id of the last file seen.")
        seen = tuple_(last.created_at, last.id)
        query = query.where(place < seen if newest_first else place > seen)
    found = list(session.scalars(query)) if purpose in (None, FINE_TUNE) else []
    views = [_view(file) for file in found[:limit]]
    ids = [view.id for view in views]
    return FileList(data=views, first_id=ids[0] if ids else None, last_id=ids[-1] if ids else None, has_more=len(found) > limit)


def get_file(session: Session, file_id: str) -> FileObject:
    """Raises `ServiceError` 404."""
    if file_id.startswith(RESULTS):
        job = _finished(session, file_id)
        content = _results(job)
        return FileObject(
            id=file_id,
            bytes=len(content),
            created_at=int((job.finished_at or job.created_at).timestamp()),
            filename="results.csv",
            purpose=FINE_TUNE_RESULTS,
        )
    if (file := _upload(session, file_id)) is None:
        raise _unknown(file_id)
    return _view(file)


def read_content(session: Session, file_id: str) -> bytes:
    """As it was sent. Raises `ServiceError`: 404, 503 if the blob store has lost a job's report."""
    if file_id.startswith(RESULTS):
        return _results(_finished(session, file_id))
    if (file := _upload(session, file_id, content=True)) is None:
        raise _unknown(file_id)
    return zlib.decompress(file.content)


def read_rows(session: Session, file_id: str, param: str, limits: Limits) -> list[RawRow]:
    """For a job. Raises `ServiceError` 400 if there is no such upload."""
    file = _upload(session, file_id, content=True)
    if file is None:
        remedy = "Upload it first, with the purpose 'fine-tune'."
        raise refusal(param, f"There is no file {file_id[:60]!r}.", remedy, code="file_not_found")
    return read_examples(zlib.decompress(file.content), limits.max_rows)


def delete_file(session: Session, file_id: str) -> FileDeleted:
    """Jobs keep their rows. Raises `ServiceError`: 404, 409 for results."""
    if file_id.startswith(RESULTS):
        job = _finished(session, file_id)
        remedy = f"DELETE /jobs/{job.id} removes both, once its student is deleted."
        raise refusal("file_id", "Results are a part of their job.", remedy, status=409, code="file_in_use")
    if (file := _upload(session, file_id)) is None:
        raise _unknown(file_id)
    session.delete(file)
    return FileDeleted(id=file_id)


def results_file(job: Job) -> list[str]:
    """The ids of a job's files of results: one, once it has published."""
    return [public_id(job.id, RESULTS)] if job.student else []


def _finished(session: Session, file_id: str) -> Job:
    own = job_id(file_id, RESULTS)
    job = get_job(session, own) if own and session.get(OpenAiJob, own) else None
    if job is None or job.student is None:
        raise _unknown(file_id)
    return job


def _results(job: Job) -> bytes:
    """The report's classifiers side by side, as CSV."""
    report = read_report(job)
    file = io.StringIO(newline="")
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow([*_COLUMNS, *_COLUMNS_PLAIN])
    for entry in report.entries:
        intervals = [figure for part in (entry.accuracy, entry.macro_f1) for figure in (part.value, part.low, part.high)]
        figures = [*intervals, entry.agreement, *(getattr(entry, name) for name in _COLUMNS_PLAIN)]
        writer.writerow([entry.name, *figures])
    return file.getvalue().encode()


def _upload(session: Session, file_id: str, *, content: bool = False) -> OpenAiFile | None:
    query = select(OpenAiFile).where(OpenAiFile.id == file_id)
    return session.scalar(query.options(undefer(OpenAiFile.content)) if content else query) if storable(file_id) else None


def _view(file: OpenAiFile) -> FileObject:
    return FileObject(id=file.id, bytes=file.size, created_at=int(file.created_at.timestamp()), filename=file.filename, purpose=FINE_TUNE)


def _unknown(file_id: str) -> ServiceError:
    return refusal("file_id", f"There is no file {file_id[:60]!r}.", "GET /v1/files lists them.", status=404, code="file_not_found")
