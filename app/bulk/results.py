"""A bulk prediction's result: stored as parts in JSON Lines, read as these or as CSV."""

import csv
import hashlib
import io
import json
from collections.abc import Callable, Iterator
from itertools import chain
from typing import Any

from app.bulk.cells import harmless
from app.bulk.layout import Layout
from app.bulk.reading import Record
from app.bulk.service import result_columns
from app.contracts.bulk import BulkStatus
from app.errors import ServiceError
from app.predictions.schemas import AnswerOptions, Prediction
from app.storage import BlobStore
from app.tables import BulkPrediction

_dump = json.JSONEncoder(ensure_ascii=False).encode  # json.dumps would make an encoder for every row
JSONL, CSV = "application/x-ndjson", "text/csv"


def part_name(start: int, rows: int, content: bytes) -> str:
    """By the rows before it, and its own. With its hash: two attempts that should differ in a part do not overwrite each other's."""
    return f"{start:012d}-{rows}-{hashlib.sha256(content).hexdigest()}"


def part_rows(name: str) -> tuple[int, int]:
    """How many rows are before a part, and how many are in it."""
    start, rows, _hash = name.split("-")
    return int(start), int(rows)


def result_line(layout: Layout, record: Record, prediction: Prediction, added: list[str], options: AnswerOptions) -> str:
    """The row as it came, and the prediction behind it. An object of a JSON file keeps its spelling."""
    if isinstance(record.fields, str):
        head = record.fields.strip()[:-1].rstrip()
    else:
        head = _dump(dict(zip(layout.columns, record.fields, strict=True)))[:-1]
    values: list[Any] = [prediction.label, prediction.score, prediction.abstained]
    if options.top_k > 1:
        values.append([{"label": score.label, "score": score.score} for score in prediction.scores])
    if options.out_of_scope:
        values.append(prediction.out_of_scope)
    tail = _dump(dict(zip(added, values, strict=True)))[1:]
    return f"{head}, {tail}\n"


def open_result(row: BulkPrediction, storage: BlobStore, media_type: str, formulas: bool = False) -> Iterator[bytes]:
    """The whole result, part by part. `formulas`: of CSV, leave cells as they came that a spreadsheet would run.

    Raises `ServiceError`: 409 there is none, 503 it is damaged; later parts, when they are read.
    """
    if row.status != BulkStatus.SUCCEEDED or row.parts is None:
        remedy = "Ask again once GET /predictions/{id} says `succeeded`." if row.finished_at is None else "Send the file again."
        raise ServiceError(409, "no-result", f"The prediction {row.id} is {row.status}: it has no result.", remedy=remedy)
    parts = (_read(row.id, name, storage) for name in row.parts)
    # Read before the answer begins: later there is no status code left to tell of a fault.
    first = next(parts)
    every = chain([first], parts)
    if media_type == JSONL:
        return every
    layout = Layout.model_validate(row.layout)
    return _as_csv(every, [*layout.columns, *result_columns(layout, row.options)], str if formulas else harmless)


def _read(bulk_id: str, name: str, storage: BlobStore) -> bytes:
    try:
        content = storage.read_bulk_part(bulk_id, name)
    except FileNotFoundError:
        content = b""
    start, rows = part_rows(name)
    if part_name(start, rows, content) != name:
        detail = f"The result of {bulk_id} is missing or damaged from row {start + 1} to row {start + rows}."
        raise ServiceError(503, "result-damaged", detail, remedy="Restore the blob store, or send the file again.")
    return content


def _as_csv(parts: Iterator[bytes], columns: list[str], shown: Callable[[str], str]) -> Iterator[bytes]:
    """RFC 4180, with a header; what is no string, number or truth value stands as JSON."""
    buffer = io.StringIO(newline="")
    writer = csv.writer(buffer)
    writer.writerow(map(shown, columns))
    for part in parts:
        for line in part.decode().split("\n")[:-1]:
            values = json.loads(line)
            writer.writerow([shown(_cell(values.get(column))) for column in columns])
        # A lone surrogate, which JSON can spell, has no UTF-8.
        yield buffer.getvalue().encode(errors="replace")
        buffer.seek(0)
        buffer.truncate()


def _cell(value: Any) -> str:
    if isinstance(value, str):
        return value
    return "" if value is None else _dump(value)
