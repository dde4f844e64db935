"""What `/ui/new` tells of a file before anything starts."""

from typing import Any

import pytest
from starlette.testclient import TestClient

from app.config import Settings
from app.contracts.presets import PRESETS
from app.tables import Dataset, Job
from app.web.preview import RowsFile, columns_of, preview
from tests.app.calls import count
from tests.app.web.pages import Page, get

GOOD = [(f"{label} text number {number}", label) for label in ("lost card", "top up") for number in range(6)]


def csv(rows: list[tuple[str, str]], header: str = "text,label") -> bytes:
    return "\n".join([header, *(f'"{text}",{label}' for text, label in rows)]).encode()


def check(api: TestClient, content: bytes, expected: int = 200, name: str = "rows.csv", test: bytes | None = None, **columns: str) -> Page:
    files: dict[str, Any] = {"file": (name, content)} | ({"test_file": ("test.csv", test)} if test else {})
    answer = api.post("/ui/new/check", files=files, data=columns)
    assert answer.status_code == expected, answer.text
    page = Page(answer.text)
    assert page.all("div", id="check")[0]["data-ok"] == ("yes" if expected == 200 else "no")
    return page


def test_the_form_offers_every_preset_and_kind(client: TestClient) -> None:
    page = get(client, "/ui/new")
    assert [found["value"] for found in page.all("input", type="radio")] == list(PRESETS)
    assert [found["value"] for found in page.all("input", type="radio", checked="")] == ["fast"]
    assert {found.get("value") for found in page.all("option")} >= {"cnn", "bilstm", "bag"}


def test_rows_are_shown_and_nothing_is_stored(client: TestClient) -> None:
    page = check(client, csv([*GOOD, GOOD[0]]), test=csv(GOOD[:1]))
    assert "11 rows of 2 labels can be used, and 1 test row" in page.text
    assert "1 duplicate row was dropped: row 13" in page.text
    assert "duplicate, dropped" in page.text
    assert "lost card 5" in page.text
    assert (count(Dataset), count(Job)) == (0, 0)


def test_faults_stand_beside_their_rows(client: TestClient) -> None:
    page = check(client, csv([*GOOD[:3], ("", "top up"), *GOOD[3:], ("<b>fine</b>", "")]), 422)
    assert "Nothing was started." in page.text
    assert "4 top up the text is empty Give the row a text, or remove it." in page.text
    assert "13 <b>fine</b> the label is empty" in page.text or "14 <b>fine</b> the label is empty" in page.text
    assert len(page.all("tr", class_="faulty")) == 2


def test_too_few_rows_of_a_class_are_told_at_its_first_row(client: TestClient) -> None:
    page = check(client, csv([*GOOD, ("alone", "rare")]), 422)
    assert "rare 1" in page.text
    assert len(page.all("tr", class_="faulty")) == 1


def test_columns_are_found_by_their_names_or_chosen(client: TestClient) -> None:
    rows = csv(GOOD, "Utterance,Intent")
    page = check(client, rows)
    assert [found["value"] for found in page.all("option", selected="")] == ["Utterance", "Intent"]
    odd = csv(GOOD, "what,kind")
    page = check(client, odd, 422)
    assert "There is no column 'text'" in page.text
    assert {"what", "kind"} <= {found["value"] for found in page.all("option")}
    check(client, odd, text_column="what", label_column="kind")
    check(client, odd, 422, text_column="what", label_column="what")


@pytest.mark.parametrize(
    ("content", "name", "columns"),
    [
        (b'{"text": "a", "label": "b"}\n{"text": "c", "more": 1}\n', "rows.jsonl", ["text", "label", "more"]),
        (b'[{"text": "a", "label": "b"}]', "rows.json", ["text", "label"]),
        (b'{"rows": [{"a": 1}]}', "pasted", ["a"]),
        (b"sep=;\na;b\n1;2\n", "rows.csv", ["a", "b"]),
        (b"\xff\xfe", "rows.csv", []),
        (b'[{"text": ', "rows.json", []),
        (b"[1, 2]", "rows.json", []),
        (b'"a', "rows.csv", []),
        (b"", "rows.csv", []),
    ],
)
def test_columns_of_a_file(content: bytes, name: str, columns: list[str]) -> None:
    assert columns_of(RowsFile(content, name)) == columns


@pytest.mark.parametrize(
    ("content", "name", "status", "said"),
    [
        (b"", "rows.csv", 422, "The file is empty."),
        (b"PK\x03\x04", "rows.xlsx", 415, "an Excel workbook"),
        ("text,label\nna\u00efve,a".encode("latin-1"), "rows.csv", 400, "not UTF-8"),
        (b'text,label\n"open,a\n', "rows.csv", 400, "never closed"),
        (b'{"text": "a", "label": "b"}\n{broken\n', "rows.jsonl", 400, "line 2 is not valid JSON"),
    ],
)
def test_what_is_no_file_of_rows_is_told(client: TestClient, content: bytes, name: str, status: int, said: str) -> None:
    assert said in check(client, content, status, name).text


def test_a_body_that_is_no_form_is_told(client: TestClient) -> None:
    answer = client.post("/ui/new/check", content=b"x", headers={"Content-Type": "multipart/form-data; boundary=b"})
    assert answer.status_code == 400
    assert "cannot be read" in Page(answer.text).text


def test_many_rows_are_shown_in_part(service_env: Settings) -> None:
    rows = [(f"{label} {number}", label) for label in ("a", "b") for number in range(500)]
    found = preview(RowsFile(csv(rows), "rows.csv"), None, None, None, service_env.limits)
    assert (found.rows, found.kept, len(found.shown), found.problem) == (1000, 1000, 50, None)


def test_odd_values_can_be_shown(client: TestClient) -> None:
    page = check(client, b'{"text": "\\ud800", "label": 7}\n{"text": ["x"], "label": null}\n', 422, "rows.jsonl")
    assert "the text is a list" in page.text
