"""A job's report as a page, and as a file that stands alone."""

import re
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from app.contracts.report import Interval, Report
from tests.app.calls import accepted, refused
from tests.app.web.pages import Page, get
from tests.app.web.reports import ROWS, made_up, reported

LABELS = ["card_arrival", "lost", "top up"]
HOSTILE = '<img src=x onerror="alert(1)">'
PICTURES = {"accuracy", "labels", "reliability", "abstaining", "size", "texts"}


def pictures(page: Page) -> set[str]:
    return {found["id"] for found in page.all("figure")}


def test_the_report_tells_what_it_has_in_pictures_and_in_words(client: TestClient, tmp_path: Path) -> None:
    job_id = reported(client, tmp_path, made_up(LABELS))
    page = get(client, f"/ui/jobs/{job_id}/report")
    assert "The student answers 90.0 % of 120 held-out rows right: 5.0 points less than its teacher" in page.text
    assert "which is 60 times its size" in page.text
    assert page.all("div", class_="notice", data_kind="done")
    assert pictures(page) == PICTURES
    drawn = page.all("svg")
    assert len(drawn) == len(PICTURES)
    assert all(svg["role"] == "img" and len(svg["aria-label"]) > 30 for svg in drawn)
    # Every picture but the one beside the table of all classifiers has a table of its own.
    assert len(page.all("details")) == len(PICTURES) - 1 + 1  # and the spec
    assert "near duplicate 300 20.0 %" in page.text
    assert {f"/jobs/{job_id}/report.html", "/ui/students/triage"} <= set(page.links())


def test_the_matrix_and_the_pairs_say_what_is_confused(client: TestClient, tmp_path: Path) -> None:
    page = get(client, f"/ui/jobs/{reported(client, tmp_path, made_up(LABELS))}/report")
    right = [found for found in page.all("td") if "right" in found.get("class", "").split()]
    wrong = [found for found in page.all("td") if "wrong" in found.get("class", "").split()]
    assert [found["class"] for found in right] == ["right level-9"] * 3
    assert [found["class"] for found in wrong].count("wrong level-1") == 3
    assert f"card_ arrival lost 4 of {ROWS} 2" in page.text


def test_many_labels_have_no_matrix_and_a_complete_table(client: TestClient, tmp_path: Path) -> None:
    labels = [f"label {number:02}" for number in range(77)]
    page = get(client, f"/ui/jobs/{reported(client, tmp_path, made_up(labels))}/report")
    assert not page.all("section", id="confusion")
    assert page.all("section", id="confused")
    assert len([found for found in page.all("rect") if "bar" in found["class"]]) == 30
    assert [label for label in labels if page.text.count(label) < 1] == []
    # The weakest first; of the made-up ones that is the first.
    assert page.text.index("label 00") < page.text.index("label 76")


def test_how_near_the_generated_texts_came_to_rows(client: TestClient, tmp_path: Path) -> None:
    said = get(client, f"/ui/jobs/{reported(client, tmp_path, made_up(LABELS))}/report").text
    assert "Near a row, and dropped: 12 exact copies, 34 near copies. Of 1,200 kept texts, 5 have 8 or more consecutive words" in said


def test_a_report_of_an_older_version_shows_what_it_has(client: TestClient, tmp_path: Path) -> None:
    job_id = reported(client, tmp_path, made_up(LABELS, scores=None, curve=[], memorisation=None))
    page = get(client, f"/ui/jobs/{job_id}/report")
    assert pictures(page) == {"accuracy", "labels", "size"}
    assert "Near a row" not in page.text


def test_a_report_without_classifiers_is_shown(client: TestClient, tmp_path: Path) -> None:
    gain = Interval(value=0.0, low=0.0, high=0.0)
    empty = Report(
        labels=["a"], holdout_rows=4, holdout_source="test", entries=[], generated={}, generation_gain=gain, verdict="Nothing was made."
    )
    page = get(client, f"/ui/jobs/{reported(client, tmp_path, empty)}/report")
    assert "Measured on 4 held-out rows." in page.text
    assert "Nothing was made." in page.text
    assert pictures(page) == set()


@pytest.mark.parametrize(
    ("gain", "kind"), [((0.01, 0.04), "done"), ((-0.04, -0.01), "error"), ((-0.02, 0.02), "info")], ids=["helped", "hurt", "undecided"]
)
def test_the_tone_is_that_of_the_interval(client: TestClient, tmp_path: Path, gain: tuple[float, float], kind: str) -> None:
    interval = Interval(value=sum(gain) / 2, low=gain[0], high=gain[1])
    page = get(client, f"/ui/jobs/{reported(client, tmp_path, made_up(LABELS, generation_gain=interval))}/report")
    assert [found["data-kind"] for found in page.all("div", class_="notice")] == [kind]


def test_warnings_labels_and_the_refit_are_told_and_nothing_of_them_runs(client: TestClient, tmp_path: Path) -> None:
    hostile = made_up([HOSTILE, "b"], warnings=[f"odd {HOSTILE}"], refit=True)
    job_id = reported(client, tmp_path, hostile)
    page = get(client, f"/ui/jobs/{job_id}/report")
    assert f"odd {HOSTILE}" in page.text
    assert "the student learned from those rows too" in page.text
    assert not [found for found in page.all("img") if "onerror" in found]
    assert HOSTILE not in client.get(f"/jobs/{job_id}/report.html").text


def test_before_there_is_a_report_the_page_says_so(client: TestClient) -> None:
    job_id = accepted(client)["id"]
    page = get(client, f"/ui/jobs/{job_id}/report")
    assert "There is no report yet" in page.text
    assert f"/ui/jobs/{job_id}" in page.links()
    refused(client.get(f"/jobs/{job_id}/report.html"), 409, "report-not-ready")
    get(client, "/ui/jobs/job_none/report", 404)
    refused(client.get("/jobs/job_none/report.html"), 404, "job-not-found")


def test_the_report_of_a_deleted_student_is_gone(client: TestClient, tmp_path: Path) -> None:
    job_id = reported(client, tmp_path, made_up(LABELS))
    assert client.delete("/students/triage").status_code == 204
    assert "was deleted" in get(client, f"/ui/jobs/{job_id}/report").text
    refused(client.get(f"/jobs/{job_id}/report.html"), 410, "student-deleted")


def test_the_file_stands_alone(client: TestClient, tmp_path: Path) -> None:
    job_id = reported(client, tmp_path, made_up(LABELS))
    answer = client.get(f"/jobs/{job_id}/report.html")
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert answer.headers["content-disposition"] == 'attachment; filename="triage-1-report.html"'
    page = Page(answer.text)
    assert pictures(page) == PICTURES
    assert "The student answers" in page.text
    # Nothing that a browser would load, run or follow.
    assert not page.all("script")
    assert not page.all("link")
    assert [found for _, found in page.elements if {"src", "href", "srcset", "style"} & found.keys()] == []
    assert not re.search(r"url\(|@import", answer.text)
    assert (policy := page.all("meta", http_equiv="Content-Security-Policy"))
    assert policy[0]["content"].startswith("default-src 'none'")
    # As it is on the page, picture by picture.
    shown = client.get(f"/ui/jobs/{job_id}/report").text
    assert re.findall(r"<svg.*?</svg>", answer.text, re.DOTALL) == re.findall(r"<svg.*?</svg>", shown, re.DOTALL)


def test_the_file_is_in_the_document_of_the_api(client: TestClient) -> None:
    answers = client.get("/openapi.json").json()["paths"]["/jobs/{job_id}/report.html"]["get"]["responses"]
    assert list(answers["200"]["content"]) == ["text/html"]
    assert {"404", "409", "410", "503"} <= answers.keys()
