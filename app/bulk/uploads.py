"""From a request to a file on this machine's disk and what is to be done with it. Nothing is read past the limit, nor kept in memory."""

import hashlib
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, cast

from fastapi import Request
from fastapi.concurrency import run_in_threadpool
from pydantic import ValidationError
from starlette.datastructures import UploadFile

from app.bulk.schemas import BulkOptions
from app.config import Settings
from app.datasets.uploads import bad_field, content_type_of, limited, parse_form
from app.errors import ServiceError, field_errors

_CURL = "With curl: --data-binary @texts.csv -H 'Content-Type: text/csv' '/predictions?student=triage'"
_PIECE = 1_048_576
_MAX_FIELD_BYTES = 10_000
_STALE_SECONDS = 86_400


@dataclass(frozen=True, slots=True)
class ReceivedFile:
    """`name` and `content_type`: as the caller gave them. `sha256` and `bytes`: of all that was sent."""

    path: Path
    name: str | None
    content_type: str
    sha256: str
    bytes: int


def read_options(request: Request) -> BulkOptions | None:
    """Of the query; None for a form, which has them in its fields. Raises `ServiceError`: 415 form-urlencoded, 422 not valid."""
    kind = content_type_of(request)
    if kind == "application/x-www-form-urlencoded":
        detail = "The body is form-urlencoded, which cannot hold a file."
        raise ServiceError(415, "unsupported-format", detail, remedy=f"Send the file itself, or multipart/form-data. {_CURL}")
    return None if kind == "multipart/form-data" else checked_options(dict(request.query_params))


@asynccontextmanager
async def received(request: Request, settings: Settings) -> AsyncIterator[tuple[ReceivedFile, dict[str, str]]]:
    """The file, which is gone at the end, and the fields of a form. Raises `ServiceError`: 400 malformed, 413 too large, 422 fields."""
    limits = settings.limits
    with _new_file(settings.data_dir) as file:
        path, digest, size = Path(file.name), hashlib.sha256(), 0
        fields: dict[str, str] = {}
        name, kind = None, content_type_of(request)
        if kind == "multipart/form-data":
            form = await parse_form(request, limits.bulk_max_bytes, "bulk_max_bytes", _MAX_FIELD_BYTES)
            try:
                upload, fields = _parts(form.multi_items())
                name, kind = upload.filename, (upload.content_type or "").lower()
                size = await run_in_threadpool(_copy, upload.file, file, digest)
            finally:
                await form.close()
        else:
            async for chunk in limited(request, limits.bulk_max_bytes, "bulk_max_bytes"):
                digest.update(chunk)
                size += len(chunk)
                file.write(chunk)
        await run_in_threadpool(file.flush)
        yield ReceivedFile(path, name, kind, digest.hexdigest(), size), fields


def checked_options(fields: dict[str, str]) -> BulkOptions:
    """Of a query or a form. Raises `ServiceError` 422."""
    try:
        return BulkOptions.model_validate(fields)
    except ValidationError as error:
        errors = field_errors(error)
        detail = "; ".join(f"{item.column or 'request'}: {item.detail}" for item in errors[:3])
        raise ServiceError(422, "invalid-request", detail, remedy=_CURL, errors=errors) from None


def _parts(items: list[tuple[str, UploadFile | str]]) -> tuple[UploadFile, dict[str, str]]:
    upload: UploadFile | None = None
    fields: dict[str, str] = {}
    for name, value in items:
        if name in fields or (name == "file" and upload is not None):
            raise bad_field(name, "comes more than once", "Send each field once; put all rows into one file.")
        if isinstance(value, str):
            if name == "file":
                raise bad_field(name, "must be sent as a file, with a file name", "With curl: -F file=@texts.csv")
            fields[name] = value
        elif name == "file":
            upload = value
        else:
            raise bad_field(name, "is a file, but the file is called `file`", "With curl: -F file=@texts.csv")
    if upload is None:
        raise bad_field("file", "is missing", "With curl: -F file=@texts.csv -F student=triage")
    return upload, fields


def _copy(source: BinaryIO, target: BinaryIO, digest: "hashlib._Hash") -> int:
    size = 0
    while piece := source.read(_PIECE):
        digest.update(piece)
        size += target.write(piece)
    return size


@contextmanager
def _new_file(data_dir: Path) -> Iterator[BinaryIO]:
    folder = data_dir.resolve() / "uploads"
    folder.mkdir(parents=True, exist_ok=True)
    for left in folder.iterdir():  # by a process that was killed
        with suppress(OSError):
            if time.time() - left.stat().st_mtime > _STALE_SECONDS:
                left.unlink()
    with tempfile.NamedTemporaryFile(dir=folder) as file:
        yield cast(BinaryIO, file)
