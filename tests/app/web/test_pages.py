"""The web page's lists, its job page and its errors, as the service sends them."""

import re
from pathlib import Path

import pytest
from sqlalchemy import event
from starlette.testclient import TestClient

from app.contracts.stages import Stage
from app.database import get_engine, transaction
from app.jobs import lifecycle
from app.tables import Event, Job, StageRun
from app.web.assets import assets
from tests.app.calls import accepted
from tests.app.students.published import publish
from tests.app.web.pages import get

SCRIPT = '<script>alert("x")</script>'


def fail(job_id: str, type: str = "broken") -> None:
    with transaction() as session:
        run = session.get_one(Job, job_id).stages[0]
        assert lifecycle.claim(session, run.id, "worker-1") is not None
        error = {"type": type, "detail": f"it broke {SCRIPT}", "remedy": "mend it"}
        assert lifecycle.fail_stage(session, run.id, 1, error, retry=False, max_attempts=3)


def test_the_first_page_says_what_to_do_when_there_is_nothing(client: TestClient) -> None:
    page = get(client, "/")
    assert "No jobs yet" in page.text
    assert "/ui/new" in page.links()
    assert "No students yet" in get(client, "/ui/students").text


def test_the_first_page_lists_jobs_and_students(client: TestClient) -> None:
    publish("cards", 1)
    job = accepted(client)
    page = get(client, "/")
    assert {f"/ui/jobs/{job['id']}", "/ui/jobs/job_cards_1", "/ui/students/cards"} <= set(page.links())
    assert re.search(r"cards 91.0 % 2 4.5 MB version 1", page.text)
    assert "/ui/jobs" in page.links()


def test_jobs_are_paged_filtered_and_found_again(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.web.lists.PAGE", 2)
    ids = [accepted(client)["id"] for _ in range(5)]
    client.post(f"/jobs/{ids[1]}/cancel")
    seen, path = list[str](), "/ui/jobs"
    while path:
        page = get(client, path)
        seen += [link.removeprefix("/ui/jobs/") for link in page.links() if link.startswith("/ui/jobs/job_")]
        path = next((found["href"] for found in page.all("a", rel="next")), "")
    assert seen == ids[::-1]
    page = get(client, "/ui/jobs", status="cancelled", name="triage")
    assert [link for link in page.links() if link.startswith("/ui/jobs/job_")] == [f"/ui/jobs/{ids[1]}"]
    assert page.all("option", selected="")
    assert "No job matches" in get(client, "/ui/jobs", name="other").text
    assert "No job can be 'dead'" in get(client, "/ui/jobs", 422, status="dead").text
    assert "There is no item 'nothing'" in get(client, "/ui/jobs", 422, after="nothing").text


def test_students_are_paged_by_the_last_publication(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.web.lists.PAGE", 2)
    for name, number in (("a", 1), ("b", 1), ("c", 1), ("a", 2), ("d", 1), ("b", 2)):
        publish(name, number)
    client.put("/students/a/aliases/latest", json={"version": 1})
    seen, path, texts = list[str](), "/ui/students", ""
    while path:
        page = get(client, path)
        texts += page.text
        seen += [link.removeprefix("/ui/students/") for link in page.links() if link.startswith("/ui/students/")]
        path = next((found["href"] for found in page.all("a", rel="next")), "")
    assert seen == ["b", "d", "a", "c"]
    assert "version 1 of 2" in texts  # what the plain name means, not the newest
    get(client, "/ui/students", 422, after="nobody")


def test_a_list_of_jobs_takes_few_statements(client: TestClient) -> None:
    def statements() -> int:
        asked: list[str] = []

        def note(_connection: object, _cursor: object, statement: str, *_rest: object) -> None:
            # Others ask too, such as the thread that follows the names of students.
            asked.extend([statement] * ("FROM jobs" in statement or "FROM stage_runs" in statement))

        event.listen(get_engine(), "before_cursor_execute", note)
        get(client, "/ui/jobs")
        event.remove(get_engine(), "before_cursor_execute", note)
        return len(asked)

    accepted(client)
    few = statements()
    for _ in range(20):
        accepted(client)
    assert statements() == few


def test_a_job_shows_its_stages_and_what_it_is_made_of(client: TestClient) -> None:
    job = accepted(client, spec={"distil": {"student": "bag"}})
    page = get(client, f"/ui/jobs/{job['id']}")
    assert [found["data-stage"] for found in page.all("li", class_="stage")] == list(Stage)
    assert len(page.all("progress")) == len(Stage)
    assert "12 in 2 labels" in page.text
    assert "Student bag" in page.text
    assert "hidden" not in page.all("button", id="cancel")[0]
    assert "hidden" in page.all("button", id="resume")[0]
    assert "hidden" in page.all("button", id="delete")[0]
    assert {f"/ui/jobs/{job['id']}/report", f"/ui/jobs/{job['id']}/texts"} <= set(page.links())


def test_the_part_that_changes_follows_the_job(client: TestClient) -> None:
    job_id = accepted(client)["id"]
    path = f"/ui/jobs/{job_id}/live"
    assert get(client, path).all("div", id="live") == [
        {"id": "live", "data-status": "queued", "data-open": "yes", "data-stopping": "no", "class": "stack"}
    ]
    with transaction() as session:
        run = session.get_one(Job, job_id).stages[0]
        lifecycle.claim(session, run.id, "worker-1")
        session.get_one(StageRun, run.id).progress_done = 1.5
        session.get_one(StageRun, run.id).progress_total = 7
    page = get(client, path)
    assert "1.5 of 7 epochs" in page.text
    assert page.all("progress", value="1.5", max="7.0")
    client.post(f"/jobs/{job_id}/cancel")
    (live,) = get(client, path).all("div", id="live")
    assert (live["data-status"], live["data-open"], live["data-stopping"]) == ("cancelled", "yes", "yes")


def test_a_failed_job_says_why_and_what_to_do_and_runs_nothing_of_it(client: TestClient) -> None:
    job_id = accepted(client)["id"]
    fail(job_id)
    page = get(client, f"/ui/jobs/{job_id}")
    assert f"Teacher failed: it broke {SCRIPT}" in page.text
    assert "mend it" in page.text
    assert not [found for found in page.all("script") if "src" not in found]
    (resume,) = page.all("button", id="resume")
    assert "hidden" not in resume
    assert resume["class"] == "primary"
    assert "the same spec" not in page.text


def test_where_the_spec_is_at_fault_to_run_it_again_is_not_what_helps_first(client: TestClient) -> None:
    job_id = accepted(client)["id"]
    fail(job_id, "model-unavailable")
    page = get(client, f"/ui/jobs/{job_id}")
    (resume,) = page.all("button", id="resume")
    assert "hidden" not in resume
    assert "class" not in resume
    assert "Resume runs the same spec again." in page.text
    assert page.all("div", id="live")[0]["data-spec"] == "at-fault"


def test_a_job_of_an_earlier_version_can_be_shown(client: TestClient) -> None:
    """Its spec has none of the fields that the page tells."""
    publish("cards", 1)
    assert "Teacher \u2013" in get(client, "/ui/jobs/job_cards_1").text


def test_what_there_is_not_is_a_page_with_a_way_back(client: TestClient) -> None:
    for path in ("/ui/jobs/job_none", "/ui/jobs/job_none/live", "/ui/nothing", "/ui/jobs/a/b/c"):
        page = get(client, path, 404)
        assert "/" in page.links()
    assert "There is no job 'job_none'" in get(client, "/ui/jobs/job_none", 404).text
    assert client.get("/nothing").headers["content-type"] == "application/problem+json"


def test_an_unreachable_database_is_told_on_a_page(client: TestClient) -> None:
    Event.metadata.drop_all(get_engine())
    page = get(client, "/ui/jobs", 503)
    assert "The database does not answer" in page.text


def test_pages_are_not_in_the_document_of_the_api(client: TestClient) -> None:
    assert [path for path in client.get("/openapi.json").json()["paths"] if path.startswith("/ui") or path == "/"] == []


def test_static_files_are_kept_for_good_under_their_own_hash_alone(client: TestClient) -> None:
    (sheet,) = get(client, "/").all("link", rel="stylesheet")
    answer = client.get(sheet["href"])
    assert answer.headers["content-type"] == "text/css; charset=utf-8"
    assert "immutable" in answer.headers["cache-control"]
    stale = client.get(re.sub("static/[0-9a-f]+/", "static/000000000000/", sheet["href"]))
    assert (stale.content, stale.headers["cache-control"]) == (answer.content, "no-cache")
    for path in ("nothing.css", "..%2Fassets.py", "%2e%2e%2fassets.py"):
        assert client.get(f"/ui/static/000000000000/{path}").status_code == 404


def test_every_static_file_that_a_module_imports_is_there(client: TestClient) -> None:
    files = assets().files
    for name, content in files.items():
        if name.endswith(".js"):
            for imported in re.findall(r'from "\./([^"]+)"', content.decode()):
                assert imported in files, (name, imported)


def test_the_page_hears_every_type_of_event(client: TestClient) -> None:
    """A browser hands over the events of a stream by their names, so the script has to know them all."""
    root = Path(__file__).parents[3]
    told: set[str] = set()
    for path in [*(root / "app").rglob("*.py"), *(root / "workers").rglob("*.py")]:
        told |= set(re.findall(r'(?:record_event\(\s*[^,()]+,\s*[^,()]+,|\.event\()\s*"([a-z_]+)"', path.read_text()))
    assert {"job_queued", "stage_started", "metric", "sample"} <= told
    script = (root / "app/web/static/job.js").read_text()
    assert told - set(re.findall(r'"([a-z_]+)"', script)) == set()
