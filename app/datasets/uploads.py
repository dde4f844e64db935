"""Reads rows from a request: a multipart form, a JSON body, or a body that is the file itself. Nothing is read past the limit."""

from collections.abc import AsyncGenerator
from dataclasses import dataclass, field
from typing import Any

from fastapi import Request
from fastapi.concurrency import run_in_threadpool
from python_multipart.multipart import parse_options_header
from starlette.datastructures import FormData, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import ClientDisconnect
from starlette.types import Scope

from app.config import Limits
from app.datasets.json_format import kind, load_json
from app.datasets.parsing import RawRow, decode_utf8, parse_inline, parse_upload
from app.datasets.raw import limit_text, quote
from app.errors import FieldError, ServiceError

_CURL = "With curl: -F file=@rows.csv"
_CHARSETS = {b"", b"utf-8", b"utf8", b"us-ascii", b"ascii"}
"""Of a form. Python has decoders that take hours for some megabytes (punycode, idna), and some that are no charsets at all."""
_JSON_FIELDS = ("rows", "test", "text_column", "label_column")


@dataclass(frozen=True, slots=True)
class Upload:
    """Unchecked rows of a request. `rows` is empty only if the call allows for a form without a file."""

    rows: list[RawRow]
    test: list[RawRow]
    fields: dict[str, str] = field(default_factory=dict)
    """The other fields of a multipart form."""


def content_type_of(request: Request) -> str:
    """Without parameters, in lower case; empty if there is none."""
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


async def read_upload(request: Request, limits: Limits, *, require_file: bool = True) -> Upload:
    """Rows of any accepted body. Raises `ServiceError`: 400 unreadable, 413 too large, 415 other format, 422 not rows.

    `require_file=False` lets a multipart form name its dataset by other fields.
    """
    kind_of_body = content_type_of(request)
    if kind_of_body == "multipart/form-data":
        return await _read_form(request, limits, require_file)
    if kind_of_body == "application/x-www-form-urlencoded":
        detail = "The body is form-urlencoded, which cannot hold a file."
        raise ServiceError(415, "unsupported-format", detail, remedy=f"Send multipart/form-data, JSON, or the file itself. {_CURL}")
    content = await read_body(request, limits)
    if kind_of_body == "application/json":
        return await run_in_threadpool(_rows_of_json, content, limits)
    columns = _columns(dict(request.query_params))
    rows = await run_in_threadpool(parse_upload, content, filename=None, content_type=kind_of_body, max_rows=limits.max_rows, **columns)
    return Upload(rows, [])


async def read_body(request: Request, limits: Limits) -> bytes:
    """The whole body. Raises `ServiceError` 413 as soon as it passes the limit."""
    limit, setting = limits.max_upload_bytes, "max_upload_bytes"
    _check_declared(request, limit, setting)
    message = await request.receive()
    if message["type"] == "http.disconnect":
        raise ClientDisconnect
    first: bytes = message.get("body", b"")
    if len(first) > limit:
        raise _too_large(limit, setting)
    if not message.get("more_body"):  # as with most: generators cost more than the reading
        return first
    return b"".join([first, *[chunk async for chunk in limited(request, limit, setting, len(first))]])


async def read_json(request: Request, limits: Limits) -> Any:
    """The body as decoded JSON. Raises `ServiceError`: 413 too large, 400 not UTF-8 or not JSON (nesting too deep included)."""
    content = await read_body(request, limits)
    return await run_in_threadpool(decode_json, content)


async def limited(request: Request, limit: int, setting: str, size: int = 0) -> AsyncGenerator[bytes, None]:
    """The body, piece by piece, of which `size` bytes are read. Raises `ServiceError` 413, which names the `setting`, beyond the limit."""
    _check_declared(request, limit, setting)
    async for chunk in request.stream():
        size += len(chunk)
        if size > limit:
            raise _too_large(limit, setting)
        yield chunk


def declared_bytes(scope: Scope) -> int | None:
    """What the request says of its body, if it does. From the raw headers: each prediction asks."""
    told = next((value for name, value in scope["headers"] if name == b"content-length"), b"")
    return int(told[:20]) if told.isdigit() else None


def _check_declared(request: Request, limit: int, setting: str) -> None:
    if (declared_bytes(request.scope) or 0) > limit:
        raise _too_large(limit, setting)


def _too_large(limit: int, setting: str) -> ServiceError:
    detail = f"The body is too large; {limit_text(setting, limit)}, in bytes."
    return ServiceError(413, "upload-too-large", detail, remedy="Send fewer rows, or raise the setting.", headers={"Connection": "close"})


class _FormParser(MultiPartParser):
    """Notes whether the closing boundary was seen; Starlette's takes a form that was cut off for a shorter one."""

    complete = False

    def on_end(self) -> None:
        self.complete = True


async def parse_form(request: Request, limit: int, setting: str, max_field_bytes: int) -> FormData:
    """A multipart body; its files lie on the disk if they are large. The caller closes it. Raises `ServiceError`: 400, 413."""
    if content_type_of(request) != "multipart/form-data":
        raise _malformed("It is no multipart form.")
    _, options = parse_options_header(request.headers["content-type"])
    if options.get(b"charset", b"").lower() not in _CHARSETS:
        raise _malformed("Its charset is not UTF-8.")
    pieces = limited(request, limit, setting)
    parser = _FormParser(request.headers, pieces, max_files=10, max_fields=50, max_part_size=max_field_bytes)
    try:
        form = await parser.parse()
    except MultiPartException as error:
        raise _malformed(error.message) from None
    except ValueError as error:  # a charset or a header that Python refuses
        raise _malformed(str(error)) from None
    if not parser.complete:
        await form.close()
        raise _malformed("It ends before its closing boundary.")
    return form


def _malformed(detail: str) -> ServiceError:
    return ServiceError(400, "malformed-multipart", f"The multipart body cannot be read: {detail}", remedy=_CURL)


async def _read_form(request: Request, limits: Limits, require_file: bool) -> Upload:
    # A field may be as large as the body: one of JSON can be long, and the body is limited as it streams.
    form = await parse_form(request, limits.max_upload_bytes, "max_upload_bytes", limits.max_upload_bytes)
    try:
        files: dict[str, UploadFile] = {}
        fields: dict[str, str] = {}
        for name, value in form.multi_items():
            if name in files or name in fields:
                raise bad_field(name, "comes more than once", "Send each field once; put all rows into one file.")
            if isinstance(value, str):
                fields[name] = value
            elif value.filename or value.size:  # browsers send an empty part for a file input that is left empty
                files[name] = value
        for name in files:
            if name not in ("file", "test_file"):
                raise bad_field(name, "is a file, but the files are called `file` and `test_file`", _CURL)
        for name in ("file", "test_file"):
            if name in fields:
                raise bad_field(name, "must be sent as a file, with a file name", _CURL)
        if "file" not in files and (require_file or files):
            raise bad_field("file", "is missing", _CURL)
        columns = _columns(fields)
        rows = await _rows_of_file(files.get("file"), columns, limits)
        test = await _rows_of_file(files.get("test_file"), columns, limits)
    finally:
        await form.close()
    return Upload(rows, test, {name: value for name, value in fields.items() if name not in columns})


async def _rows_of_file(file: UploadFile | None, columns: dict[str, str], limits: Limits) -> list[RawRow]:
    if file is None:
        return []
    content = await file.read()
    return await run_in_threadpool(
        parse_upload, content, filename=file.filename, content_type=file.content_type, max_rows=limits.max_rows, **columns
    )


def _columns(fields: dict[str, str]) -> dict[str, str]:
    return {"text_column": fields.get("text_column") or "text", "label_column": fields.get("label_column") or "label"}


def bad_field(name: str, detail: str, remedy: str) -> ServiceError:
    """A 422 about one field of a body. `detail` goes on after the field's name."""
    errors = [FieldError(column=quote(name)[1:-1], detail=detail, remedy=remedy)]
    return ServiceError(422, "invalid-request", f"The field {quote(name)} {detail}.", remedy=remedy, errors=errors)


def decode_json(content: bytes) -> Any:
    """Raises `ServiceError` 400: not UTF-8, or not JSON (nesting too deep included)."""
    try:
        text = decode_utf8(content)
    except UnicodeDecodeError as error:
        detail = f"The body is not UTF-8: byte {error.start} is 0x{content[error.start]:02x}."
        raise ServiceError(400, "not-utf8", detail, remedy="Encode JSON as UTF-8.") from None
    return load_json(text)


def _rows_of_json(content: bytes, limits: Limits) -> Upload:
    body = decode_json(content)
    body = {"rows": body} if isinstance(body, list) else body
    if not isinstance(body, dict):
        detail = f"The body must be an object with `rows`, not {kind(body)}."
        raise ServiceError(422, "invalid-request", detail, remedy='Send {"rows": [{"text": "...", "label": "..."}, ...]}.')
    for name in body:
        if name not in _JSON_FIELDS:
            raise bad_field(name, "is unknown", f"The fields of the body are {', '.join(_JSON_FIELDS)}.")
    parts: dict[str, list[Any]] = {}
    for name in ("rows", "test"):
        value = body.get(name)
        if name == "rows" and "rows" not in body:
            raise bad_field(name, "is missing", 'Send {"rows": [{"text": "...", "label": "..."}, ...]}.')
        if value is not None and not isinstance(value, list):
            raise bad_field(name, f"must be a list of rows, not {kind(value)}", 'Send [{"text": "...", "label": "..."}, ...].')
        parts[name] = value or []
    columns = {name: body.get(name, default) for name, default in (("text_column", "text"), ("label_column", "label"))}
    for name, value in columns.items():
        if not isinstance(value, str):
            raise bad_field(name, f"must be a string, not {kind(value)}", "Give the column's name.")
    rows = parse_inline(parts["rows"], max_rows=limits.max_rows, **columns)
    test = parse_inline(parts["test"], max_rows=limits.max_rows, **columns) if parts["test"] else []
    return Upload(rows, test)
