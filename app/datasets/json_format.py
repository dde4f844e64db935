"""JSON Lines, and JSON: a list of objects or `{"rows": [...]}`."""

import json
import re
from collections.abc import Iterable
from typing import Any

from app.datasets.raw import Faults, RawRow, missing_columns, quote, too_many_rows
from app.errors import ServiceError

MOST_BRACKETS = 3_000_000
"""Lists and objects in one JSON text. Empty ones take three bytes of it, and sixty or more of memory each."""
# Never fails once it has begun, be the string unclosed: else each quote after it would be looked through to the end again.
_STRINGS = re.compile(r'"(?:[^"\\]++|\\.?)*+"?', re.DOTALL)
_OBJECT = '{"text": "...", "label": "..."}'


def load_json(text: str, what: str = "body") -> Any:
    """Any JSON value. Raises `ServiceError` 400 `malformed-json` with the place of the fault; deep nesting is one."""
    check_brackets(text)
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        detail = f"The {what} is not valid JSON: {explain(error, with_line=True)}."
        raise ServiceError(400, "malformed-json", detail, remedy="Check it with a JSON parser.") from None


def check_brackets(text: str) -> None:
    """Raises `ServiceError` 422 for JSON that would be many times larger in memory than it is as a text."""
    if text.count("[") + text.count("{") <= MOST_BRACKETS:
        return
    outside = _STRINGS.sub("", text)
    if (found := outside.count("[") + outside.count("{")) > MOST_BRACKETS:
        detail = f"The JSON holds {found:,} lists and objects; the limit is {MOST_BRACKETS:,}."
        raise ServiceError(422, "too-many-values", detail, remedy="Send rows of a text and a label, and fewer of them.")


def parse_json(text: str, *, text_column: str, label_column: str, max_rows: int | None = None) -> list[RawRow]:
    """Rows of a decoded JSON file."""
    value = load_json(text, "file")
    if isinstance(value, dict) and "rows" in value:
        others = [name for name in value if name != "rows"]
        if others:
            names = ", ".join(quote(name) for name in others[:10])
            detail = f'A JSON file is a list of rows or {{"rows": [...]}}; it also holds {names}.'
            raise ServiceError(422, "unknown-field", detail, remedy="Leave these out; test rows go into a file of their own, `test_file`.")
        value = value["rows"]
    if not isinstance(value, list):
        detail = f"A JSON file of rows must be a list of objects, not {kind(value)}."
        raise ServiceError(422, "invalid-rows", detail, remedy=f'Write [{_OBJECT}, ...]; with pandas: to_json(orient="records").')
    return objects_to_rows(value, text_column=text_column, label_column=label_column, max_rows=max_rows)


def parse_jsonl(text: str, *, text_column: str, label_column: str, max_rows: int | None = None) -> list[RawRow]:
    """Rows of a decoded JSON Lines file. Blank lines are not counted."""
    check_brackets(text)
    values: list[Any] = []
    faults = Faults()
    row = 0
    # Not str.splitlines: it also cuts at U+2028 and others, which may stand inside a JSON string.
    for line_number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        row += 1
        if max_rows is not None and row > max_rows:
            raise too_many_rows(max_rows, f"more than {max_rows:,}")
        try:
            values.append(json.loads(line))
        except (ValueError, RecursionError) as error:
            faults.add(f"line {line_number} is not valid JSON: {explain(error)}", f"Write one object a line: {_OBJECT}", row=row)
    faults.raise_any(400, "broken-rows", "The JSON Lines file is broken")
    return objects_to_rows(values, text_column=text_column, label_column=label_column, max_rows=max_rows)


def objects_to_rows(values: list[Any], *, text_column: str, label_column: str, max_rows: int | None = None) -> list[RawRow]:
    """Rows of decoded JSON objects. Raises `ServiceError` for a value that is no object and for a column that no row has."""
    if max_rows is not None and len(values) > max_rows:
        raise too_many_rows(max_rows, f"{len(values):,}")
    faults = Faults()
    for row, value in enumerate(values, start=1):
        if not isinstance(value, dict):
            faults.add(f"a row must be an object, not {kind(value)}", f"Write every row as {_OBJECT}.", row=row)
    faults.raise_any(400, "broken-rows", "Some rows are no objects")
    wanted = [column for column in (text_column, label_column) if values and not any(column in value for value in values)]
    if wanted:
        found = _keys(values[:100])
        raise missing_columns(wanted, found, text_column=text_column, label_column=label_column, what="objects")
    return [RawRow(row, value.get(text_column), value.get(label_column)) for row, value in enumerate(values, start=1)]


def looks_like_jsonl(text: str) -> bool:
    """Whether text that begins with `{` is one object a line, rather than one JSON value."""
    first, _newline, _rest = text.lstrip().partition("\n")
    try:
        value = json.loads(first)
    except (ValueError, RecursionError):
        return False
    return isinstance(value, dict) and list(value) != ["rows"] and not isinstance(value.get("rows"), list)


def kind(value: object) -> str:
    """JSON's name of a decoded value's type."""
    names: dict[type, str] = {dict: "an object", list: "a list", str: "a string", bool: "true or false", int: "a number", float: "a number"}
    return names.get(type(value), "null")


def _keys(values: Iterable[dict[str, Any]]) -> list[str]:
    return list(dict.fromkeys(key for value in values for key in value))


def explain(error: Exception, *, with_line: bool = False) -> str:
    """What is wrong with a value or a line of JSON, of the error that `json.loads` raised."""
    if isinstance(error, RecursionError):
        return "it is nested too deeply"
    if isinstance(error, json.JSONDecodeError):
        line = f"line {error.lineno}, " if with_line else ""
        return f"{error.msg.removesuffix(' at').lower()} at {line}column {error.colno}"
    return "it holds a number with too many digits"
