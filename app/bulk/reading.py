"""Reads a file of texts row by row, in memory that does not grow with the file."""

import codecs
import io
import json
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from app.bulk.layout import Layout
from app.config import Limits
from app.datasets.csv_format import SEPARATOR_LINE, check_unique, layout, records
from app.datasets.json_format import explain, kind
from app.datasets.parsing import check_is_text, form_by_look, form_by_name
from app.datasets.raw import SURROGATES, Faults, limit_text, quote
from app.errors import FieldError, ServiceError

MAX_ROW_CHARS = 1_000_000
"""Of one row with all its columns; what is longer is most likely a quote that is not closed."""
MAX_COLUMNS = 1000
MAX_COLUMN_CHARS = 200
_HEAD_BYTES = 65_536
_CHUNK_BYTES = 1_048_576
_BREATH = 500
_EXAMPLE = '{"text": "..."}'


class Record(NamedTuple):
    """`row` is 1 for the first row of data. `fields`: of a CSV row, or the line of JSON as it stands in the file."""

    row: int
    text: str
    fields: list[str] | str


class _RowTooLong(Exception):
    pass


def read_layout(path: Path, *, filename: str | None, content_type: str | None, text_column: str) -> Layout:
    """How the file is laid out, as far as its beginning tells: JSON Lines have no columns yet.

    Raises `ServiceError`: 400 not UTF-8, 415 another format, 422 no text column.
    """
    if not text_column.strip() or len(text_column) > MAX_COLUMN_CHARS or SURROGATES.search(text_column):
        detail = f"`text_column` must be a column's name of 1 to {MAX_COLUMN_CHARS} characters"
        raise ServiceError(422, "invalid-column-name", detail, remedy="Give the name as it stands in the header.")
    with path.open("rb") as file:
        start = file.read(_HEAD_BYTES)
        check_is_text(start)
        file.seek(0)
        _check_utf8(file)
    head = codecs.getincrementaldecoder("utf-8")().decode(start).removeprefix("\ufeff")
    if not head.strip():
        raise _empty("The file is empty.")
    form = form_by_name(filename, content_type)
    if form in (None, "json"):
        form = form_by_look(head)
    if form == "json":
        detail = "The file is one JSON value, which cannot be read row by row."
        raise ServiceError(415, "unsupported-format", detail, remedy=f"Send JSON Lines, one object a line: {_EXAMPLE}; or CSV.")
    if form == "jsonl":
        return Layout(form="jsonl", text_column=text_column, columns=[])
    separator = SEPARATOR_LINE.match(head) if head.startswith(("sep=", '"sep=')) else None
    delimiter, header, spaced = layout(head[separator.end() if separator else 0 :], {text_column})
    columns = [name.strip() for name in header]
    check_unique(dict.fromkeys(columns), columns)
    faults = Faults()
    _check_columns(columns, faults, None)
    faults.raise_any(422, "invalid-column-name", "The header cannot be used")
    if text_column not in columns:
        raise _no_text_column(text_column, columns, "header line")
    return Layout(
        form="csv", text_column=text_column, columns=columns, delimiter=delimiter, spaced=spaced, separator_line=separator is not None
    )


def scan(path: Path, found: Layout, limits: Limits) -> tuple[Layout, int]:
    """Checks every row; returns the layout with all columns, and the number of rows.

    Raises `ServiceError`: 400 rows that cannot be read, 422 texts that cannot be predicted, too many rows or none.
    """
    broken, unusable = Faults(), Faults()
    columns: dict[str, None] = dict.fromkeys(found.columns)
    rows, has_text = 0, False
    for row, text, fields in _rows(path, found, broken):
        rows = row
        if rows > limits.bulk_max_rows:
            detail = f"There are more than {limits.bulk_max_rows:,} rows; {limit_text('bulk_max_rows', limits.bulk_max_rows)}."
            raise ServiceError(422, "too-many-rows", detail, remedy="Send the file in parts, or raise the setting.")
        if isinstance(fields, dict):
            has_text = has_text or found.text_column in fields
            if not columns.keys() >= fields.keys():
                new = [name for name in fields if name not in columns]
                columns.update(dict.fromkeys(new))
                _check_columns(new, unusable, row)
                if len(columns) > MAX_COLUMNS:
                    unusable.add(f"the rows have more than {MAX_COLUMNS:,} different columns", "Leave some out.", row=row)
                    break
        if fields is not None:
            _check_text(text, unusable, row, found.text_column, limits)
        if row % _BREATH == 0:
            time.sleep(0)  # lets the threads that serve go first
    broken.raise_any(400, "broken-rows", f"The {'CSV' if found.form == 'csv' else 'JSON Lines'} file is broken")
    if not rows:
        raise _empty("The file has a header but no rows." if found.form == "csv" else "The file has no rows.")
    if found.form == "jsonl" and not has_text:
        raise _no_text_column(found.text_column, list(columns), "objects")
    unusable.raise_any(422, "invalid-rows", "Some rows cannot be predicted")
    return found.model_copy(update={"columns": list(columns)}), rows


def read_records(path: Path, found: Layout) -> Iterator[Record]:
    """The rows of a file that `scan` has passed."""
    faults = Faults()
    for row, text, fields in _rows(path, found, faults, keep_lines=True):
        yield Record(row, text, fields)
    faults.raise_any(400, "broken-rows", "The file is broken")


def _rows(path: Path, found: Layout, faults: Faults, *, keep_lines: bool = False) -> Iterator[tuple[int, Any, Any]]:
    """Number, text and fields of each row; no fields where `faults` tells of it. JSON objects are decoded, or kept as lines."""
    return _csv_rows(path, found, faults) if found.form == "csv" else _jsonl_rows(path, found, faults, keep_lines)


def _csv_rows(path: Path, found: Layout, faults: Faults) -> Iterator[tuple[int, str, list[str] | None]]:
    at = found.columns.index(found.text_column)
    number = 0
    with path.open(encoding="utf-8-sig", newline="") as file:
        if found.separator_line:
            file.readline()
        lines = _Lines(file)
        try:
            for number, fields in records(lines, found.delimiter, found.spaced, faults):
                lines.chars = 0
                yield number, fields[at] if fields else "", fields or None
        except _RowTooLong:
            detail = f"the row has more than {MAX_ROW_CHARS:,} characters"
            faults.add(detail, "Close the quote that it opens; write a quote inside a text twice.", row=number + 1)


def _jsonl_rows(path: Path, found: Layout, faults: Faults, keep_lines: bool) -> Iterator[tuple[int, Any, Any]]:
    row = 0
    with path.open(encoding="utf-8-sig", newline="\n") as file:
        # Not a universal newline: U+2028 and a lone carriage return may stand inside a JSON string.
        for number, line in enumerate(iter(lambda: file.readline(MAX_ROW_CHARS + 1), ""), start=1):
            if not line.strip():
                continue
            row += 1
            if len(line) > MAX_ROW_CHARS:
                faults.add(f"line {number} has more than {MAX_ROW_CHARS:,} characters", "Send shorter rows.", row=row)
                yield row, "", None
                return
            try:
                value = _decode(line)
            except (ValueError, RecursionError) as error:
                what = str(error) if isinstance(error, _NoNumber) else explain(error)
                faults.add(f"line {number} is not valid JSON: {what}", f"Write one object a line: {_EXAMPLE}", row=row)
                yield row, "", None
                continue
            if not isinstance(value, dict):
                faults.add(f"line {number} must be an object, not {kind(value)}", f"Write every row as {_EXAMPLE}.", row=row)
                yield row, "", None
                continue
            yield row, value.get(found.text_column), line if keep_lines else value


class _NoNumber(ValueError):
    """Python reads NaN and Infinity, which JSON does not have."""


class _Lines:
    """The file's lines, as long as one row does not take too many; whoever has read a row sets `chars` back."""

    def __init__(self, file: io.TextIOWrapper) -> None:
        self._file = file
        self.chars = 0

    def __iter__(self) -> "_Lines":
        return self

    def __next__(self) -> str:
        line = self._file.readline(MAX_ROW_CHARS + 1)
        if not line:
            raise StopIteration
        self.chars += len(line) if line.strip() else 0
        if self.chars > MAX_ROW_CHARS:
            raise _RowTooLong
        return line


def _refuse(constant: str) -> None:
    raise _NoNumber(f"it holds {constant}")


_decode = json.JSONDecoder(parse_constant=_refuse).decode  # json.loads would make a decoder for every row


def _check_text(text: object, faults: Faults, row: int, column: str, limits: Limits) -> None:
    if not isinstance(text, str):
        what = "there is no text" if text is None else f"the text is {kind(text)}, not a string"
        faults.add(what, "Give every row a text, or leave the row out.", row=row, column=column)
    elif len(text) > limits.predict_max_chars:
        detail = f"the text has {len(text):,} characters; {limit_text('predict_max_chars', limits.predict_max_chars)}"
        faults.add(detail, "Shorten the text.", row=row, column=column)
    elif not text.strip():
        faults.add("the text is empty", "Give every row a text, or leave the row out.", row=row, column=column)
    elif SURROGATES.search(text):
        faults.add("the text holds half a surrogate pair", "Encode it as UTF-8, or as two \\u escapes.", row=row, column=column)


def _check_columns(names: Iterable[str], faults: Faults, row: int | None) -> None:
    for name in names:
        if len(name) > MAX_COLUMN_CHARS or SURROGATES.search(name) or "\0" in name:
            detail = f"the column {quote(name)} cannot be kept"
            faults.add(detail, f"Name it with up to {MAX_COLUMN_CHARS} characters, without NUL.", row=row)


def _check_utf8(file: BinaryIO) -> None:
    decoder, line = codecs.getincrementaldecoder("utf-8")(), 1
    read = 0
    while True:
        chunk = file.read(_CHUNK_BYTES)
        pending = len(decoder.getstate()[0])
        try:
            decoder.decode(chunk, final=not chunk)
        except UnicodeDecodeError as error:
            place = read - pending + error.start
            line += error.object[: error.start].count(b"\n")
            detail = f"The file is not UTF-8: byte {place} (line {line}) is 0x{error.object[error.start]:02x}."
            remedy = "It seems to be in another encoding, such as Windows-1252; save it as UTF-8 (in Excel: 'CSV UTF-8') and send it again."
            errors = [FieldError(detail=f"not UTF-8 at byte {place}", remedy=remedy)]
            raise ServiceError(400, "not-utf8", detail, remedy=remedy, errors=errors) from None
        if not chunk:
            return
        read += len(chunk)
        line += chunk.count(b"\n")


def _no_text_column(wanted: str, found: list[str], what: str) -> ServiceError:
    names = ", ".join(quote(name) for name in found[:20]) or "none"
    remedy = f"Name a column {quote(wanted)} in the {what}, or say with `text_column` what yours is called."
    errors = [FieldError(column=wanted, detail=f"there is no column {quote(wanted)}", remedy=remedy)]
    return ServiceError(
        422, "missing-columns", f"There is no column {quote(wanted)}; columns found: {names}.", remedy=remedy, errors=errors
    )


def _empty(detail: str) -> ServiceError:
    return ServiceError(422, "empty-file", detail, remedy="Send at least one row with a text.")
