import json
from typing import Any

import pytest

from app.datasets.parsing import RawRow, parse_inline, parse_upload
from tests.app.datasets.samples import kind_of, refusal

TWO = [RawRow(1, "first text", "a"), RawRow(2, "second text", "b")]


def parse(content: bytes | str, filename: str | None = "rows.csv", content_type: str | None = None, **options: Any) -> list[RawRow]:
    data = content.encode() if isinstance(content, str) else content
    return parse_upload(data, filename=filename, content_type=content_type, **options)


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"])
def test_csv_of_any_delimiter_and_newline(delimiter: str, newline: str) -> None:
    lines = [["text", "label"], ["first text", "a"], ["second text", "b"]]
    assert parse(newline.join(delimiter.join(fields) for fields in lines)) == TWO


def test_delimiter_is_told_by_the_header_not_by_what_texts_hold() -> None:
    rows = parse("id;text;label\n1;a, b, c | d | e, f;x\n2;g, h\ti, j;y\n")
    assert [(row.text, row.label) for row in rows] == [("a, b, c | d | e, f", "x"), ("g, h\ti, j", "y")]


def test_a_column_name_that_holds_another_delimiter() -> None:
    assert parse("a,b,c,d;text;label\n1;first text;a\n2;second text;b") == TWO


def test_csv_with_bom_quoted_newlines_and_doubled_quotes() -> None:
    rows = parse('\ufefftext,label\r\n"first\r\nline, ""quoted""",a\r\nplain,b\r\n')
    assert rows == [RawRow(1, 'first\r\nline, "quoted"', "a"), RawRow(2, "plain", "b")]


def test_csv_with_a_space_after_each_delimiter() -> None:
    assert parse('text, "label"\n"first text", a\n"second text", "b"\n') == TWO


def test_without_that_style_a_space_is_part_of_the_field() -> None:
    assert parse("text,label\nx, a\ny,a\n") == [RawRow(1, "x", " a"), RawRow(2, "y", "a")]


def test_csv_with_excels_separator_line_and_blank_lines() -> None:
    assert parse("sep=;\r\ntext;label\r\n\r\nfirst text;a\r\n   \r\nsecond text;b\r\n\r\n") == TWO


def test_other_column_names() -> None:
    assert parse("topic,words\na,first text\nb,second text\n", text_column="words", label_column="topic") == TWO


def test_a_text_longer_than_the_csv_modules_own_limit() -> None:
    (row,) = parse(f"text,label\n{'x' * 200_000},a\n")
    assert row.text == "x" * 200_000


@pytest.mark.parametrize(
    ("content", "filename", "content_type"),
    [
        ('{"text": "first text", "label": "a"}\n\n{"text": "second text", "label": "b"}\r\n', "rows.jsonl", None),
        ('{"text": "first text", "label": "a"}\n{"text": "second text", "label": "b"}', None, "application/x-ndjson; charset=utf-8"),
        ('{"text": "first text", "label": "a"}\n{"text": "second text", "label": "b"}', "rows.json", None),
        ('{"text": "first text", "label": "a"}\n{"text": "second text", "label": "b"}', None, "application/octet-stream"),
        ('[{"text": "first text", "label": "a"}, {"text": "second text", "label": "b"}]', "ROWS.JSON", "text/csv"),
        ('\ufeff{"rows": [{"text": "first text", "label": "a"}, {"text": "second text", "label": "b"}]}', None, None),
        ('{\n"rows": [{"text": "first text", "label": "a"},\n{"text": "second text", "label": "b"}]}', None, "application/json"),
        ("text,label\nfirst text,a\nsecond text,b", None, "application/vnd.ms-excel"),
        ("text,label\nfirst text,a\nsecond text,b", "rows", None),
    ],
)
def test_format_by_ending_then_content_type_then_look(content: str, filename: str | None, content_type: str | None) -> None:
    assert parse(content, filename, content_type) == TWO


def test_jsonl_is_cut_at_newlines_only() -> None:
    line = json.dumps({"text": "a\u2028b\u0085c", "label": "x"}, ensure_ascii=False)
    assert parse(line + "\n", "rows.jsonl") == [RawRow(1, "a\u2028b\u0085c", "x")]


def test_inline_rows_keep_their_values_for_the_checks() -> None:
    assert parse_inline([{"text": "x", "label": 1}, {"text": None}]) == [RawRow(1, "x", 1), RawRow(2, None, None)]


@pytest.mark.parametrize(
    ("filename", "content", "row"),
    [
        ("rows.csv", 'text,label\n"two\nlines",a\ncafé,b\n'.encode("latin-1"), 2),
        ("rows.csv", b"text,label\nfine,a\n\xff", 2),
        ("rows.jsonl", b'{"text": "x", "label": "a"}\n\n{"text": "caf\xe9", "label": "a"}\n', 2),
        (None, b'{"text": "x", "label": "a"}\n{"text": "caf\xe9", "label": "a"}\n', 2),
        ("rows.json", b'[{"text": "caf\xe9", "label": "a"}]', None),
    ],
)
def test_not_utf8_names_byte_and_row(filename: str | None, content: bytes, row: int | None) -> None:
    problem = refusal(lambda: parse(content, filename))
    bad = next(index for index, byte in enumerate(content) if byte >= 0x80)
    assert (problem.status, kind_of(problem)) == (400, "not-utf8")
    assert f"byte {bad} " in problem.detail
    assert [error.row for error in problem.errors] == [row]


def test_utf16_is_named() -> None:
    problem = refusal(lambda: parse("text,label\nx,a\n".encode("utf-16")))
    assert kind_of(problem) == "not-utf8"
    assert "UTF-16" in (problem.remedy or "")


@pytest.mark.parametrize(
    ("content", "rows"),
    [
        ("text,label\nfine,a\nno label\nfine,b\n", [2]),
        ("text,label\nfine,a\nwell, a comma,a\nfine,b\nshort\n", [2, 4]),
        ('text,label\n"two\nlines",a\n"one" more,b\n', [2]),
        ('text,label\nfine,a\nfine,a\n"never closed,b\nfine,b\n', [3]),
        ('text,label\nshort\n"never closed,b\n' + "fine,b\n" * 30_000, [1, 2]),
    ],
)
def test_broken_csv_rows_are_numbered(content: str, rows: list[int]) -> None:
    problem = refusal(lambda: parse(content))
    assert (problem.status, kind_of(problem)) == (400, "broken-rows")
    assert [error.row for error in problem.errors] == rows
    assert problem.errors_total == len(rows)


def test_first_fifty_faults_are_listed_and_all_are_counted() -> None:
    problem = refusal(lambda: parse("text,label\n" + "short\n" * 80))
    assert len(problem.errors) == 50
    assert problem.errors_total == 80


def test_a_broken_header_line() -> None:
    problem = refusal(lambda: parse('"text,label\nfine,a\n'))
    assert kind_of(problem) == "broken-rows"
    assert "header" in problem.detail


@pytest.mark.parametrize("bad", ["{", '{"text": "x"} {"text": "y"}', "[1, 2]", "7", '{"a":' * 100_000, "1" * 5000])
def test_broken_json_lines_are_numbered(bad: str) -> None:
    good = '{"text": "x", "label": "a"}'
    problem = refusal(lambda: parse(f"{good}\n\n{bad}\n{good}\n", "rows.jsonl"))
    assert (problem.status, kind_of(problem)) == (400, "broken-rows")
    assert [error.row for error in problem.errors] == [2]


@pytest.mark.parametrize("content", ['[{"text": "x",]', "[" * 100_000, '[{"text": "x"}', "nonsense", "[" + "1" * 5000 + "]"])
def test_malformed_json(content: str) -> None:
    problem = refusal(lambda: parse(content, "rows.json"))
    assert (problem.status, kind_of(problem)) == (400, "malformed-json")


def test_json_of_another_shape() -> None:
    problem = refusal(lambda: parse('{"text": {"0": "x"}, "label": {"0": "a"}}\n', "rows.json", text_column="t"))
    assert kind_of(problem) == "missing-columns"
    problem = refusal(lambda: parse('{\n"text": ["x"], "label": ["a"]}', "rows.json"))
    assert kind_of(problem) == "invalid-rows"
    problem = refusal(lambda: parse('{"rows": [], "test": []}', "rows.json"))
    assert kind_of(problem) == "unknown-field"
    problem = refusal(lambda: parse('[{"text": "x", "label": "a"}, "y", null]', "rows.json"))
    assert kind_of(problem) == "broken-rows"
    assert [error.row for error in problem.errors] == [2, 3]
    for content in ('{"rows": "x"}', '{"rows": {"text": "x"}}'):
        problem = refusal(lambda content=content: parse(content, "rows.json"))
        assert (problem.status, kind_of(problem)) == (422, "invalid-rows")


@pytest.mark.parametrize(
    ("content", "filename", "missing"),
    [
        ("words,topic\nx,a\n", "rows.csv", ["text", "label"]),
        ("text,topic\nx,a\n", "rows.csv", ["label"]),
        ("text\nx\n", "rows.csv", ["label"]),
        ('{"words": "x", "label": "a"}', "rows.jsonl", ["text"]),
        ('[{"text": "x", "topic": "a"}]', "rows.json", ["label"]),
    ],
)
def test_missing_columns_says_which_were_found_and_how_to_name_others(content: str, filename: str, missing: list[str]) -> None:
    problem = refusal(lambda: parse(content, filename))
    assert (problem.status, kind_of(problem)) == (422, "missing-columns")
    assert [error.column for error in problem.errors] == missing
    found = "words" if "words" in content else "text"
    assert f"columns found: '{found}'" in problem.detail
    assert "`text_column`" in (problem.remedy or "")
    assert "`label_column`" in (problem.remedy or "")


def test_a_column_that_the_header_names_twice() -> None:
    assert kind_of(refusal(lambda: parse("text,label,label\nx,a,b\n"))) == "duplicate-column"


@pytest.mark.parametrize(("text_column", "label_column"), [("text", "text"), (" ", "label"), ("\ud800", "label"), ("t" * 201, "label")])
def test_column_names_that_cannot_be(text_column: str, label_column: str) -> None:
    problem = refusal(lambda: parse("text,label\nx,a\n", text_column=text_column, label_column=label_column))
    assert kind_of(problem) == "invalid-column-name"


@pytest.mark.parametrize(
    ("content", "filename"),
    [("", "rows.csv"), (" \n\n", None), ("\ufeff", "x.jsonl"), ("text,label\n", "rows.csv"), ("[]", "rows.json"), ('{"rows": []}', None)],
)
def test_empty_file(content: str, filename: str | None) -> None:
    problem = refusal(lambda: parse(content, filename))
    assert (problem.status, kind_of(problem)) == (422, "empty-file")


def test_empty_inline_rows() -> None:
    assert kind_of(refusal(lambda: parse_inline([]))) == "empty-file"


@pytest.mark.parametrize("magic", [b"PK\x03\x04rest", b"\x1f\x8b\x08rest", b"PAR1rest", b"\xd0\xcf\x11\xe0rest"])
def test_formats_that_are_not_read_are_named(magic: bytes) -> None:
    problem = refusal(lambda: parse(magic))
    assert (problem.status, kind_of(problem)) == (415, "unsupported-format")


@pytest.mark.parametrize(
    ("content", "filename"),
    [
        ("text,label\n" + "x,a\n" * 4, "rows.csv"),
        ('{"text": "x", "label": "a"}\n' * 4, "rows.jsonl"),
        ("[" + ",".join(['{"text": "x", "label": "a"}'] * 4) + "]", "rows.json"),
    ],
)
def test_more_rows_than_the_limit(content: str, filename: str) -> None:
    assert len(parse(content, filename, max_rows=4)) == 4
    problem = refusal(lambda: parse(content, filename, max_rows=3))
    assert kind_of(problem) == "too-many-rows"
    assert "limit is 3 (setting GENDISTIL_LIMITS__MAX_ROWS)" in problem.detail
