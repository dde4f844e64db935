"""What is in a file of rows before anything is stored: its columns, its rows with their faults, its labels and warnings."""

import json
from collections import Counter
from dataclasses import dataclass, field, replace

from app.config import Limits
from app.datasets.csv_format import SEPARATOR_LINE, layout
from app.datasets.json_format import looks_like_jsonl
from app.datasets.parsing import RawRow, decode_utf8, form_by_look, form_by_name, parse_upload
from app.datasets.validation import check_rows
from app.errors import FieldError, Problem, ServiceError

SHOWN = 50
_EXCERPT = 240
_HEAD_CHARS = 65_536
_NAMES = {
    "text": (
        "text",
        "utterance",
        "message",
        "sentence",
        "content",
        "body",
        "query",
        "question",
        "input",
        "description",
        "comment",
        "review",
    ),
    "label": ("label", "intent", "category", "class", "target", "topic", "tag", "output", "sentiment", "type"),
}


@dataclass(frozen=True)
class RowsFile:
    content: bytes
    filename: str
    content_type: str | None = None


@dataclass(frozen=True)
class ShownRow:
    """As it came. `faults`: what keeps it from being used; `note`: what becomes of it."""

    row: int
    text: str
    label: str
    faults: list[FieldError] = field(default_factory=list)
    note: str = ""


@dataclass(frozen=True)
class Preview:
    """`problem` is None if the rows can be used as they are; `rows` and `test_rows` count those that came."""

    columns: list[str]
    text_column: str
    label_column: str
    rows: int = 0
    test_rows: int = 0
    kept: int = 0
    labels: dict[str, int] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    shown: list[ShownRow] = field(default_factory=list)
    problem: Problem | None = None


def preview(file: RowsFile, test: RowsFile | None, text_column: str | None, label_column: str | None, limits: Limits) -> Preview:
    """Reads and checks the rows as a job would, with the columns of these names, or those that seem meant. `problem` tells what is off."""
    columns = columns_of(file)
    text_name = text_column or _meant("text", columns)
    label_name = label_column or _meant("label", columns)
    made = Preview(columns, text_name, label_name)
    rows: list[RawRow] = []
    test_rows: list[RawRow] = []
    try:
        rows = _parsed(file, text_name, label_name, limits)
        test_rows = _parsed(test, text_name, label_name, limits) if test else []
        checked = check_rows(rows, test_rows, limits)
    except ServiceError as error:
        problem = error.problem
        labels = {} if problem.type.endswith("invalid-rows") else _labels(rows)
        shown = _shown(rows, problem.errors)
        return replace(made, rows=len(rows), test_rows=len(test_rows), labels=labels, shown=shown, problem=problem)
    return replace(
        made,
        rows=len(rows),
        test_rows=len(test_rows),
        kept=len(checked.rows),
        labels=checked.label_counts,
        warnings=checked.warnings,
        shown=_shown(rows, []),
    )


def columns_of(file: RowsFile) -> list[str]:
    """Names of the columns, as far as the beginning tells; none for what cannot be read."""
    try:
        text = decode_utf8(file.content)
    except UnicodeDecodeError:
        return []
    form = form_by_name(file.filename, file.content_type) or form_by_look(text)
    if form == "csv":
        head = text[:_HEAD_CHARS]
        head = SEPARATOR_LINE.sub("", head, count=1) if head.startswith(("sep=", '"sep=')) else head
        try:
            return list(dict.fromkeys(name.strip() for name in layout(head, set())[1] if name.strip()))
        except ServiceError:
            return []
    try:
        is_lines = form == "jsonl" or looks_like_jsonl(text)
        values = [json.loads(line) for line in text.split("\n", 20)[:20] if line.strip()] if is_lines else json.loads(text)
    except (ValueError, RecursionError):
        return []
    values = values.get("rows") if isinstance(values, dict) else values
    found = values[:20] if isinstance(values, list) else []
    return list(dict.fromkeys(key for value in found if isinstance(value, dict) for key in value))


def _meant(what: str, columns: list[str]) -> str:
    """The column that seems to hold texts or labels; the usual name if none does."""
    lower = {name.lower(): name for name in reversed(columns)}
    return next((lower[name] for name in _NAMES[what] if name in lower), what)


def _parsed(file: RowsFile, text_column: str, label_column: str, limits: Limits) -> list[RawRow]:
    return parse_upload(
        file.content,
        filename=file.filename,
        content_type=file.content_type,
        text_column=text_column,
        label_column=label_column,
        max_rows=limits.max_rows,
    )


def _shown(rows: list[RawRow], faults: list[FieldError]) -> list[ShownRow]:
    """The first rows, and before them all that have a fault."""
    by_row: dict[int, list[FieldError]] = {}
    for fault in faults:
        # A fault of a test row counts in the rows of the other file.
        if fault.row is not None and "(test rows)" not in fault.detail:
            by_row.setdefault(fault.row, []).append(fault)
    faulty = [_row(row, by_row[row.row]) for row in rows if row.row in by_row]
    seen: set[tuple[str, str]] = set()
    plain = []
    for row in rows[:SHOWN]:
        key = (str(row.text).strip(), str(row.label).strip())
        note = "duplicate, dropped" if key in seen else ""
        seen.add(key)
        if row.row not in by_row:
            plain.append(_row(row, [], note))
    return [*faulty, *plain]


def _row(row: RawRow, faults: list[FieldError], note: str = "") -> ShownRow:
    return ShownRow(row.row, _excerpt(row.text), _excerpt(row.label), faults, note)


def _excerpt(value: object) -> str:
    text = "" if value is None else str(value)
    # Half a surrogate pair, which JSON can hold, could not be sent.
    text = text[:_EXCERPT].encode("utf-8", "replace").decode() + ("…" if len(text) > _EXCERPT else "")
    return text.replace("\x00", "\ufffd")


def _labels(rows: list[RawRow]) -> dict[str, int]:
    counts = Counter(_excerpt(row.label.strip()) for row in rows if isinstance(row.label, str) and row.label.strip())
    return dict(sorted(counts.items()))
