"""Texts that become something else where they are shown: markup, a formula, a line of a log, an order to a terminal."""

import csv
import io
import json
import logging
import zipfile
from pathlib import Path
from typing import Any

import pytest

from app.logs import JsonFormatter, TextFormatter
from tests.app.calls import BODY
from tests.app.jobs.texts import label_texts, text
from tests.app.web.pages import Page, get
from tests.app.web.reports import made_up, reported
from tests.hostile.attacks import CSV, JSONL, ROWS
from tests.hostile.conftest import Service
from workers.bulk import run_bulk_prediction

MARKUP = {
    "a script": "<script>alert(1)</script>",
    "an image": "<img src=x onerror=alert(1)>",
    "an attribute's end": '" autofocus onfocus=alert(1) x="',
    "an attribute's other end": "' onmouseover='alert(1)",
    "a comment": "--><svg onload=alert(1)>",
    "a style's end": "</style><script>alert(1)</script>",
    "an address": "javascript:alert(1)",
    "an entity": "&lt;script&gt;&#0;",
    "a template": "{{ self.__init__.__globals__ }}{% raw %}",
    "a Markdown link": "[a](javascript:alert(1)) ![b](http://evil.test/x.png)",
    "a table's end": "a | b\\| `c` <br>",
    "an override": "safe \u202etxt.exe",
}
FORMULAS = {
    "an equals sign": "=1+1",
    "a call": '=HYPERLINK("http://evil.test","a")',
    "a command": "=cmd|' /C calc'!A0",
    "a plus": "+1+cmd|'!A0",
    "a minus": "-1+cmd|'!A0",
    "an at sign": "@SUM(1+1)",
    "a tab": "\t=1+1",
    "a return": "\r=1+1",
    "a full-width sign": "\uff1d1+1",
}
NO_FORMULAS = ["-5", "+3.25", "-1e-7", "1=1", "a=1", " =1", "", "'=1"]
LINES = {
    "a line's end": "card\nERROR root: all is lost",
    "a return": "card\rERROR root: all is lost",
    "an escape": "card \x1b[2J\x1b]0;title\x07",
    "a C1 control": "card \x9b2J",
    "an override": "card \u202egnol",
}


@pytest.fixture(scope="module")
def shown(service: Service, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A job whose labels, generated texts and report are markup; its id."""
    folder: Path = tmp_path_factory.mktemp("shown")
    labels = [value for value in MARKUP.values() if "\u202e" not in value]
    report = made_up(labels, warnings=list(MARKUP.values()), verdict=" ".join(MARKUP.values()))
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(BODY, "name", "shown")  # `triage` has rows of its own
        return reported(service.api, folder, report)


@pytest.fixture(scope="module")
def generated(service: Service, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A job whose generated texts and labels are markup."""
    answer = service.api.post("/jobs", json={"name": "texts", "dataset": {"rows": ROWS}})
    texts = [text(value, asked=value, **{value: 0.9}) for value in MARKUP.values()]
    label_texts(answer.json()["id"], texts, tmp_path_factory.mktemp("texts"), "hostile")
    return str(answer.json()["id"])


def harmless(page: Page) -> None:
    """`get` has looked at every element's attributes; no element is one that only a text could have brought."""
    assert not [
        tag for tag, found in page.elements if tag in {"svg", "img", "iframe", "object"} and ("onload" in found or "onerror" in found)
    ]
    assert not [found for tag, found in page.elements if tag == "script" and "src" not in found]


@pytest.mark.parametrize(
    "path", ["/ui/jobs/{}/report", "/ui/jobs/{}", "/ui/jobs/{}/live", "/ui/jobs", "/ui/students", "/ui/students/triage"]
)
def test_pages_show_markup_as_text(service: Service, shown: str, path: str) -> None:
    harmless(get(service.api, path.format(shown)))


def test_a_report_shows_every_label_as_it_is(service: Service, shown: str) -> None:
    answer = service.api.get(f"/jobs/{shown}/report.html")
    page = Page(answer.text)
    harmless(page)
    assert not [tag for tag, _ in page.elements if tag in {"script", "img", "iframe", "form", "base"}]
    assert not [name for _, found in page.elements for name in found if name.startswith("on")]
    assert answer.headers["content-security-policy"].startswith("default-src 'none'")
    for value in (MARKUP["a script"], MARKUP["an image"], MARKUP["a comment"]):
        assert value in page.text
        assert value not in answer.text


@pytest.mark.parametrize("path", ["/ui/jobs/{}/texts", "/ui/jobs/{}/texts/results"])
def test_generated_texts_are_shown_as_they_are(service: Service, generated: str, path: str) -> None:
    page = get(service.api, path.format(generated))
    harmless(page)
    if path.endswith("results"):
        assert MARKUP["a script"] in page.text


@pytest.mark.parametrize("value", MARKUP.values(), ids=MARKUP)
def test_what_a_caller_asks_a_page_for_is_text(service: Service, generated: str, value: str) -> None:
    for path in (f"/ui/jobs/{generated}/texts", f"/ui/jobs/{generated}/texts/results"):
        harmless(get(service.api, path, 200, search=value[:100]))
    harmless(get(service.api, f"/ui/students/{value.replace('/', '')}".replace("?", "").replace("#", ""), 404))
    answer = service.api.get("/jobs", params={"after": value})
    assert answer.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize(
    "value", [value for value in MARKUP.values() if "\u202e" not in value], ids=[name for name in MARKUP if name != "an override"]
)
def test_a_label_stays_in_its_cell_of_the_model_card(service: Service, student_files: dict[str, bytes], value: str) -> None:
    from tests.hostile.archives import bundle, zipped

    manifest = {**json.loads(student_files["student.json"]), "labels": [value, "b", "c"]}
    content = zipped(list(bundle({**student_files, "student.json": json.dumps(manifest).encode()}).items()))
    made = service.api.post("/students/import", content=content, params={"name": "card"}).raise_for_status().json()
    with zipfile.ZipFile(io.BytesIO(service.api.get(f"/students/card:{made['version']}/download").content)) as archive:
        card = archive.read("README.md").decode()
    [line] = [line for line in card.splitlines() if line.endswith("| unknown | unknown |") and not line.startswith(("| b ", "| c "))]
    assert line.replace("\\\\", "").replace("\\|", "").count("|") == 4
    for sign in "<[`*":
        assert sign not in line.replace("\\" + sign, "")


@pytest.fixture(scope="module")
def results(service: Service) -> list[list[str]]:
    """A bulk result as CSV, whose cells and one of whose columns were formulas."""
    cells = [*FORMULAS.values(), *NO_FORMULAS]
    content = "".join(json.dumps({"text": "card", "=1+1": cell, "n": -5, "more": {"=a": 1}}) + "\n" for cell in cells)
    sent = service.api.post("/predictions", params={"student": "triage"}, content=content, headers=JSONL).raise_for_status().json()
    run_bulk_prediction(sent["id"])
    service.known["formulas"] = sent["id"]
    answer = service.api.get(f"/predictions/{sent['id']}/result", headers={"Accept": "text/csv"})
    return list(csv.reader(io.StringIO(answer.text, newline="")))


@pytest.mark.parametrize("place", range(len(FORMULAS)), ids=FORMULAS)
def test_a_cell_of_a_result_is_no_formula(results: list[list[str]], place: int) -> None:
    assert results[place + 1][1] == "'" + list(FORMULAS.values())[place]


def test_what_is_no_formula_stays_as_it_is(results: list[list[str]], service: Service) -> None:
    assert results[0][1] == "'=1+1"
    assert [row[1] for row in results[len(FORMULAS) + 1 :]] == NO_FORMULAS
    assert {row[2] for row in results[1:]} == {"-5"}
    path = f"/predictions/{service.known['formulas']}/result"
    as_it_came = list(
        csv.reader(io.StringIO(service.api.get(f"{path}?formulas=true", headers=CSV | {"Accept": "text/csv"}).text, newline=""))
    )
    assert [row[1] for row in as_it_came[1:]] == [*FORMULAS.values(), *NO_FORMULAS]
    assert [json.loads(line)["=1+1"] for line in service.api.get(path).text.splitlines()] == [*FORMULAS.values(), *NO_FORMULAS]


@pytest.mark.parametrize("value", LINES.values(), ids=LINES)
@pytest.mark.parametrize("formatter", [TextFormatter(), JsonFormatter()], ids=["text", "json"])
def test_a_text_is_no_line_of_a_log(formatter: logging.Formatter, value: str) -> None:
    record = logging.LogRecord("app", logging.ERROR, "file.py", 1, "refused %s", (value,), None)
    shown = formatter.format(record)
    assert not any(line.startswith("ERROR") for line in shown.splitlines())
    assert not {"\x1b", "\x07", "\x9b", "\r", "\u202e"} & set(shown)


@pytest.mark.parametrize("value", LINES.values(), ids=LINES)
def test_no_request_writes_a_text_into_the_log(service: Service, caplog: pytest.LogCaptureFixture, value: str) -> None:
    requests: list[tuple[str, str, dict[str, Any]]] = [
        ("POST", "/predict", {"json": {"student": "triage", "inputs": value}}),
        ("POST", "/predict", {"json": {"student": value, "inputs": value}}),
        ("POST", "/datasets", {"json": [*ROWS, {"text": value, "label": value}]}),
        ("POST", "/jobs", {"json": {"name": value, "dataset": value, "spec": {value: value}}}),
        ("POST", "/v1/chat/completions", {"json": {"model": value, "messages": [{"role": "user", "content": value}]}}),
        ("POST", "/webhooks", {"json": {"url": value, "description": value}}),
        ("GET", "/jobs", {"params": {"after": value}, "headers": {"User-Agent": value.encode()}}),
    ]
    with caplog.at_level(logging.INFO):
        for method, path, sent in requests:
            assert service.api.request(method, path, **sent).status_code < 500
    own = [record.getMessage() for record in caplog.records if not record.name.startswith(("httpx", "asyncio"))]
    assert own
    assert not [message for message in own if "card" in message or "\x1b" in message]
