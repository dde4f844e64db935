"""Files of texts, read row by row."""

from pathlib import Path

import pytest

from app.bulk.layout import Layout, added_columns
from app.bulk.reading import read_layout, read_records, scan
from app.config import Limits
from app.errors import ServiceError


def read(path: Path, content: str | bytes, kind: str = "text/csv", filename: str | None = None) -> tuple[Layout, int]:
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return scan(path, read_layout(path, filename=filename, content_type=kind, text_column="text"), Limits())


@pytest.mark.parametrize(
    ("content", "kind", "status", "type", "row", "says"),
    [
        ("text\ncard\na,b\n", "text/csv", 400, "broken-rows", 2, "line 3 has 2 fields"),
        ('text\ncard\n"open\nmore\n', "text/csv", 400, "broken-rows", 2, "line 3 opens a quote"),
        ('text\ncard\n"' + "x\n" * 600_000, "text/csv", 400, "broken-rows", 2, "more than 1,000,000 characters"),
        ('{"text": "a"}\n\n{"text": "b"\n', "application/jsonl", 400, "broken-rows", 2, "line 3 is not valid JSON"),
        ('{"text": "a"}\n["b"]\n', "application/jsonl", 400, "broken-rows", 2, "line 2 must be an object"),
        ('{"text": "a", "n": NaN}\n', "application/jsonl", 400, "broken-rows", 1, "it holds NaN"),
        ("text,id\ncard,1\n  ,2\n", "text/csv", 422, "invalid-rows", 2, "the text is empty"),
        ('{"text": "a"}\n{"text": 3}\n', "application/jsonl", 422, "invalid-rows", 2, "the text is a number"),
        ('{"text": "a"}\n{"txt": "b"}\n', "application/jsonl", 422, "invalid-rows", 2, "there is no text"),
        ('{"text": "a"}\n{"text": "\\ud800"}\n', "application/jsonl", 422, "invalid-rows", 2, "surrogate"),
        ("text\n" + "x" * 20_001, "text/csv", 422, "invalid-rows", 1, "GENDISTIL_LIMITS__PREDICT_MAX_CHARS"),
        ("txt\ncard\n", "text/csv", 422, "missing-columns", None, "'txt'"),
        ('{"txt": "card"}\n', "application/jsonl", 422, "missing-columns", None, "'txt'"),
        ("text,a,a\ncard,1,2\n", "text/csv", 422, "duplicate-column", None, "'a' 2 times"),
        ("text\n", "text/csv", 422, "empty-file", None, "no rows"),
        ("", "text/csv", 422, "empty-file", None, "empty"),
        ('[{"text": "a"}]', "application/json", 415, "unsupported-format", None, "row by row"),
        (b"PK\x03\x04rest", "text/csv", 415, "unsupported-format", None, "Excel"),
        (b"text\ncard\n\xffpin\n", "text/csv", 400, "not-utf8", None, "byte 10 (line 3) is 0xff"),
        (b"text\ncard\n\xc3", "text/csv", 400, "not-utf8", None, "byte 10 (line 3) is 0xc3"),
    ],
)
def test_what_cannot_be_used_is_told_by_row(
    tmp_path: Path, content: str | bytes, kind: str, status: int, type: str, row: int | None, says: str
) -> None:
    with pytest.raises(ServiceError) as refused:
        read(tmp_path / "file", content, kind)
    problem = refused.value.problem
    assert (problem.status, problem.type) == (status, f"urn:gendistil:{type}")
    assert problem.remedy
    assert says in problem.detail
    if row is not None:
        assert problem.errors[0].row == row


def test_all_faults_are_counted_and_the_first_listed(tmp_path: Path) -> None:
    with pytest.raises(ServiceError) as refused:
        read(tmp_path / "file", "text,n\n" + "card,1\n,2\n" * 300)
    assert refused.value.problem.errors_total == 300
    assert [error.row for error in refused.value.problem.errors] == list(range(2, 102, 2))


@pytest.mark.parametrize(
    ("content", "kind", "filename", "texts"),
    [
        ("sep=;\nid;text\n1;card\n", "text/csv", None, ["card"]),
        ("text, id\ncard, 1\n", "", None, ["card"]),
        ('text\ttext2\n"a\nb"\tx\n', "application/octet-stream", "rows.tsv", ["a\nb"]),
        ('\ufeff{"text": "card"}\r\n\r\n{"text": "a\u2028b\x85c"}', "", None, ["card", "a\u2028b\x85c"]),
        ('{"text": "card"}\n', "application/json", "rows.json", ["card"]),
    ],
)
def test_common_spellings_are_read(tmp_path: Path, content: str, kind: str, filename: str | None, texts: list[str]) -> None:
    layout, rows = read(tmp_path / "file", content, kind, filename)
    assert rows == len(texts)
    assert [record.text for record in read_records(tmp_path / "file", layout)] == texts


def test_a_fault_in_utf8_is_placed_behind_many_pieces(tmp_path: Path) -> None:
    # The character's first byte ends one piece that is read, its second begins the next.
    content = "text\n" + "x" * (2**20 - 7) + "\n"
    with pytest.raises(ServiceError) as refused:
        read(tmp_path / "file", content.encode() + b"\xc3(")
    assert f"byte {2**20 - 1} (line 3) is 0xc3" in refused.value.problem.detail


def test_added_columns_never_take_the_name_of_one_that_is_there() -> None:
    assert added_columns(["text"], scores=True, out_of_scope=False) == ["label", "score", "abstained", "scores"]
    taken = ["label", "predicted_score"]
    assert added_columns(taken, scores=False, out_of_scope=False)[0] == "predicted_predicted_label"
