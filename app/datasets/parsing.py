"""From bytes, or from inline JSON, to unchecked rows. Every fault is a `ServiceError` that says where it lies and how to mend it."""

from typing import Any

from app.datasets.csv_format import parse_csv, row_at_end
from app.datasets.json_format import looks_like_jsonl, objects_to_rows, parse_json, parse_jsonl
from app.datasets.raw import RawRow, check_columns, no_rows
from app.errors import FieldError, ServiceError

__all__ = ["RawRow", "parse_inline", "parse_upload"]

_ENDINGS = {"csv": "csv", "tsv": "csv", "tab": "csv", "psv": "csv", "jsonl": "jsonl", "ndjson": "jsonl", "json": "json"}
_CONTENT_TYPES = {
    "text/csv": "csv",
    "application/csv": "csv",
    "text/tab-separated-values": "csv",
    "application/x-ndjson": "jsonl",
    "application/ndjson": "jsonl",
    "application/jsonl": "jsonl",
    "application/x-jsonlines": "jsonl",
    "application/json": "json",
}
_PARSERS = {"csv": parse_csv, "jsonl": parse_jsonl, "json": parse_json}
_BINARY = {
    b"PK\x03\x04": "an Excel workbook or a zip archive",
    b"\xd0\xcf\x11\xe0": "an old Excel workbook",
    b"\x1f\x8b": "a gzip archive",
    b"PAR1": "a Parquet file",
}


def parse_upload(
    content: bytes,
    *,
    filename: str | None,
    content_type: str | None,
    text_column: str = "text",
    label_column: str = "label",
    max_rows: int | None = None,
) -> list[RawRow]:
    """Rows of a CSV, JSON Lines or JSON file, at least one; the format is told by the file's ending, its content type, or its look.

    Raises `ServiceError`: 400 for a file that cannot be read, 415 for another format, 422 for columns that are missing, no
    rows, or more than `max_rows`.
    """
    check_columns(text_column, label_column)
    check_is_text(content)
    text = _decode(content, text_column, label_column, form_by_name(filename, content_type))
    if not text.strip():
        raise no_rows("The file is empty.")
    form = form_by_name(filename, content_type) or form_by_look(text)
    # JSON Lines are often found in files that are called .json.
    if form == "json" and text.lstrip().startswith("{") and looks_like_jsonl(text):
        form = "jsonl"
    rows = _PARSERS[form](text, text_column=text_column, label_column=label_column, max_rows=max_rows)
    if not rows:
        raise no_rows("The file has a header but no rows." if form == "csv" else "The file has no rows.")
    return rows


def check_is_text(content: bytes) -> None:
    """Raises `ServiceError` 415 for the beginning of a workbook or an archive."""
    for magic, name in _BINARY.items():
        if content.startswith(magic):
            remedy = "Send the rows as CSV (UTF-8), JSON Lines or JSON."
            raise ServiceError(415, "unsupported-format", f"The file is {name}.", remedy=remedy)


def parse_inline(rows: list[Any], *, text_column: str = "text", label_column: str = "label", max_rows: int | None = None) -> list[RawRow]:
    """Rows of decoded JSON objects, at least one. Raises `ServiceError`."""
    check_columns(text_column, label_column)
    if not rows:
        raise no_rows("There are no rows.")
    return objects_to_rows(rows, text_column=text_column, label_column=label_column, max_rows=max_rows)


def decode_utf8(content: bytes) -> str:
    """Without a byte order mark. Raises `UnicodeDecodeError`, whose `start` is an offset into `content`."""
    text = content.decode("utf-8")
    return text.removeprefix("\ufeff")


def _decode(content: bytes, text_column: str, label_column: str, form: str | None) -> str:
    try:
        return decode_utf8(content)
    except UnicodeDecodeError as error:
        before = content[: error.start].decode("utf-8").removeprefix("\ufeff")
        line = before.count("\n") + 1
        form = form or form_by_look(before)
        row: int | None = None
        if form == "csv":
            row = row_at_end(before, text_column=text_column, label_column=label_column)
        elif form == "jsonl":
            row = sum(bool(part.strip()) for part in f"{before}x".split("\n"))
        place = f"byte {error.start} (line {line}{f', row {row}' if row else ''})"
        detail = f"The file is not UTF-8: {place} is 0x{content[error.start]:02x}."
        encoding = "UTF-16" if content.startswith((b"\xff\xfe", b"\xfe\xff")) else "another encoding, such as Windows-1252"
        remedy = f"It seems to be in {encoding}; save it as UTF-8 (in Excel: 'CSV UTF-8') and send it again."
        errors = [FieldError(row=row or None, detail=f"not UTF-8 at byte {error.start}", remedy=remedy)]
        raise ServiceError(400, "not-utf8", detail, remedy=remedy, errors=errors) from None


def form_by_name(filename: str | None, content_type: str | None) -> str | None:
    """`csv`, `jsonl` or `json`; None if neither the file's ending nor its content type tells."""
    ending = (filename or "").rpartition(".")[2].strip().lower()
    kind = (content_type or "").partition(";")[0].strip().lower()
    return _ENDINGS.get(ending) or _CONTENT_TYPES.get(kind)


def form_by_look(text: str) -> str:
    """`csv`, `jsonl` or `json`, by how the file begins."""
    start = text.lstrip()
    if start.startswith("["):
        return "json"
    if start.startswith("{"):
        return "jsonl" if looks_like_jsonl(start) else "json"
    return "csv"
