"""Whatever bytes come, the parser answers with rows or with a refusal."""

import csv
import io
import json
from collections.abc import Callable
from typing import TypeVar

from hypothesis import given, settings
from hypothesis import strategies as st

from app.config import Limits
from app.datasets.parsing import RawRow, parse_inline, parse_upload
from app.datasets.validation import check_rows
from app.errors import ServiceError

Result = TypeVar("Result")
NAMES = st.sampled_from([None, "rows.csv", "rows.jsonl", "rows.json", "rows", "rows.xlsx"])
TYPES = st.sampled_from([None, "text/csv", "application/x-ndjson", "application/json", "nonsense", ""])
TOKENS = st.sampled_from(
    [
        "text",
        "label",
        ",",
        ";",
        "\t",
        "|",
        '"',
        "\n",
        "\r",
        "\r\n",
        "{",
        "}",
        "[",
        "]",
        ":",
        '"text":',
        '"label":',
        "a",
        " ",
        "é",
        "\0",
        "null",
        "1e9",
    ]
)
SOUP = st.lists(TOKENS, max_size=60).map(lambda parts: "".join(parts).encode())
CONTENT = st.one_of(
    st.binary(max_size=300), SOUP, SOUP.map(lambda soup: b"text,label\n" + soup), SOUP.map(lambda soup: b'{"text":"x"}\n' + soup)
)
JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(), max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(["text", "label", "x"]), inner, max_size=3),
    max_leaves=15,
)
# Cells that are not blank, as a row of blank cells is another matter; no surrogates, as they have no UTF-8.
CELLS = st.text(st.characters(codec="utf-8"), min_size=1, max_size=20).filter(lambda cell: cell.strip() != "")


def answer(call: Callable[[], Result]) -> Result | None:
    """What `call` gives, or None for a refusal, which must be one that can be sent, whatever the caller's bytes were."""
    try:
        return call()
    except ServiceError as error:
        refused = error.problem
    assert 400 <= refused.status < 500
    assert json.dumps(refused.model_dump(), ensure_ascii=False).encode()
    return None


@settings(max_examples=300, deadline=None)
@given(content=CONTENT, filename=NAMES, content_type=TYPES)
def test_any_bytes_give_rows_or_a_refusal(content: bytes, filename: str | None, content_type: str | None) -> None:
    rows = answer(lambda: parse_upload(content, filename=filename, content_type=content_type))
    assert rows is None or (rows and [row.row for row in rows] == list(range(1, len(rows) + 1)))


@settings(max_examples=200, deadline=None)
@given(values=st.lists(JSON_VALUES, max_size=8))
def test_any_json_rows_give_checked_rows_or_a_refusal(values: list[object]) -> None:
    checked = answer(lambda: check_rows(parse_inline(values), [], Limits(min_rows_per_class=1)))
    assert checked is None or (len(checked.label_counts) >= 2 and all(row.text and row.label for row in checked.rows))


@settings(max_examples=200, deadline=None)
@given(
    cells=st.lists(st.tuples(CELLS, CELLS), min_size=1, max_size=8),
    delimiter=st.sampled_from(",;\t|"),
    newline=st.sampled_from(["\n", "\r\n"]),
)
def test_written_csv_reads_back(cells: list[tuple[str, str]], delimiter: str, newline: str) -> None:
    stream = io.StringIO()
    writer = csv.writer(stream, delimiter=delimiter, lineterminator=newline, quoting=csv.QUOTE_ALL)
    writer.writerows([("text", "label"), *cells])
    rows = parse_upload(stream.getvalue().encode(), filename="rows.csv", content_type=None)
    assert rows == [RawRow(number, text, label) for number, (text, label) in enumerate(cells, start=1)]


@settings(max_examples=100, deadline=None)
@given(cells=st.lists(st.tuples(CELLS, CELLS), min_size=1, max_size=8))
def test_written_json_lines_read_back(cells: list[tuple[str, str]]) -> None:
    content = "\n".join(json.dumps({"text": text, "label": label}, ensure_ascii=False) for text, label in cells)
    rows = parse_upload(content.encode(), filename="rows.jsonl", content_type=None)
    assert rows == [RawRow(number, text, label) for number, (text, label) in enumerate(cells, start=1)]
