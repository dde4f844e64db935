"""A student's page: its versions, its aliases, and code that is run as it stands there."""

import html
import re
import subprocess
import sys
from pathlib import Path

import httpx
import pytest
from starlette.testclient import TestClient

from app.contracts.profile import Profile
from app.database import transaction
from app.tables import Student, Traffic, utcnow
from app.web.snippets import snippets
from tests.app.calls import refused
from tests.app.predictions.conftest import Publish, publish
from tests.app.web.pages import get
from tests.gendistil.conftest import service_url

__all__ = ["publish", "service_url"]

HOSTILE = "</p><script>alert(1)</script>"


def options(markup: str, id: str) -> list[str]:
    """The values of a <select>."""
    [inside] = re.findall(rf'<select id="{id}">(.*?)</select>', markup, re.DOTALL)
    return re.findall(r'<option value="([^"]*)"', inside)


def test_versions_with_what_they_score_and_where_they_come_from(client: TestClient, publish: Publish) -> None:
    publish()
    publish(changes={"metrics": {"accuracy": 0.95}})
    client.put("/students/triage/aliases/production", json={"version": 1})
    page = get(client, "/ui/students/triage")
    assert "version 2 answers" in page.text
    assert "95.0" in page.text
    assert {"/ui/jobs/job_1/report", "/ui/jobs/job_2/report", "/students/triage/download", "/students/triage:1/download"} <= set(
        page.links()
    )
    assert re.search(r"1 production 90\.0.%", page.text)
    assert "the first version" in page.text
    assert options(client.get("/ui/students/triage").text, "which") == ["triage@latest", "triage@production", "triage:2", "triage:1"]


def test_versions_are_paged(client: TestClient, publish: Publish, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.web.students.ON_PAGE", 2)
    for _ in range(5):
        publish()
    seen, path = list[str](), "/ui/students/triage"
    while path:
        page = get(client, path)
        seen += [link.split(":")[1].split("/")[0] for link in page.links() if link.startswith("/students/triage:")]
        path = next((found["href"] for found in page.all("a", rel="next")), "")
    assert seen == ["5", "4", "3", "2", "1"]


def test_an_alias_tells_where_it_was_and_where_it_goes_back_to(client: TestClient, publish: Publish) -> None:
    for _ in range(3):
        publish()
    for version, reason in ((1, "checked by hand"), (3, HOSTILE)):
        client.put("/students/triage/aliases/production", json={"version": version, "reason": reason})
    page = get(client, "/ui/students/triage")
    assert "caller," in page.text
    assert "checked by hand" in page.text
    assert HOSTILE in page.text
    buttons = {(found["data-alias"], found["data-back"]) for found in page.all("button", data_act="rollback")}
    assert buttons >= {("production", "1")}
    client.post("/students/triage/aliases/production/rollback", json={"reason": "worse"})
    page = get(client, "/ui/students/triage")
    assert "rollback" in page.text
    assert "worse" in page.text
    assert "production" not in {found["data-alias"] for found in page.all("button", data_act="rollback")}


def test_an_alias_is_never_said_to_go_back_to_what_is_gone(client: TestClient, publish: Publish) -> None:
    for _ in range(3):
        publish()
    for version in (1, 2, 3):
        client.put("/students/triage/aliases/production", json={"version": version})
    assert client.delete("/students/triage/versions/2").status_code == 204
    page = get(client, "/ui/students/triage")
    told = {found["data-alias"]: found["data-back"] for found in page.all("button", data_act="rollback")}
    went = client.post("/students/triage/aliases/production/rollback").json()["version"]
    assert (told["production"], went) == ("1", 1)


def test_shadow_and_live_texts_are_told(client: TestClient, publish: Publish) -> None:
    profile = Profile(rows=10, labels={"card": 5, "money": 5, "pin": 0}, scores=[0] * 9 + [10], pieces=40, unknown=0)
    publish()
    publish(changes={"profile": profile})
    page = get(client, "/ui/students/triage")
    assert "Not enough traffic yet" in page.text
    assert page.all("button", data_act="shadow")
    assert not page.all("button", data_act="unshadow")
    client.put("/students/triage/shadow", json={"version": 1, "share": 0.25})
    counts = {"labels": {"pin": 300}, "scores": [300] + [0] * 9, "pieces": 1200, "unknown": 0}
    with transaction() as session:
        session.add(Traffic(name="triage", version=2, day=utcnow().date(), process="p", since=utcnow(), texts=300, **counts))
    page = get(client, "/ui/students/triage")
    assert "on 25 % of its texts" in page.text
    assert page.all("button", data_act="unshadow")
    assert page.all("span", class_="badge", data_status="failed")
    assert "Drifted from the holdout" in page.text


def test_a_version_of_long_ago_is_shown(client: TestClient, publish: Publish) -> None:
    publish(changes={"metrics": {}})
    with transaction() as session:
        session.query(Student).update({"promotion": None})
    assert "version 1 answers" in get(client, "/ui/students/triage").text


def test_an_unknown_student_is_a_page(client: TestClient, publish: Publish) -> None:
    publish()
    page = get(client, "/ui/students/triaeg", 404)
    assert "Close to it: triage" in page.text
    get(client, "/ui/students/%3Cb%3E", 404)
    get(client, "/ui/students/triage", 422, before=0)


def test_what_is_tried_on_the_page_is_no_live_text(client: TestClient, publish: Publish) -> None:
    publish()
    body = {"student": "triage", "inputs": "my card", "top_k": 8, "out_of_scope": True, "min_score": 0.99}
    tried = client.post("/ui/predict", json=body)
    assert tried.json() == client.post("/predict", json=body).json()
    assert "total;dur=" in tried.headers["server-timing"]
    counted = re.findall(r"gendistil_predict_texts_total\{.*\} (\S+)", client.get("/metrics").text)
    assert counted == ["1.0"]
    refused(client.post("/ui/predict", json={}), 422, "invalid-request")


def shown(url: str, id: str) -> str:
    """A snippet as the page has it."""
    markup = httpx.get(f"{url}/ui/students/triage", timeout=60, trust_env=False).text
    [found] = re.findall(rf'<code id="snippet-{id}">(.*?)</code>', markup, re.DOTALL)
    return html.unescape(found)


def test_every_snippet_runs_as_it_stands(service_url: str, publish: Publish, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    publish()
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("HF_HUB_OFFLINE", "0")  # for the processes below: this one's hub client is kept from the network
    folder = tmp_path / "reader"
    folder.mkdir()

    def run(*command: str) -> str:
        return subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True, timeout=120).stdout

    assert '"student":"triage","version":1' in run("bash", "-c", shown(service_url, "curl"))
    assert run(sys.executable, "-c", shown(service_url, "client")).startswith("card 0.33")
    assert "label='card'" in run(sys.executable, "-c", shown(service_url, "hub"))
    # Its packages are here already.
    archive = "".join(line for line in shown(service_url, "zip").splitlines(keepends=True) if not line.startswith("pip"))
    python = f'python() {{ "{sys.executable}" "$@"; }}\n'
    assert '"label": "card"' in run("bash", "-ec", python + archive)


def test_an_address_is_quoted_where_a_shell_reads_it() -> None:
    texts = {snippet.id: snippet.text for snippet in snippets("http://host/$(x)", "triage", 1)}
    assert "'http://host/$(x)/predict'" in texts["curl"]
    assert "'http://host/$(x)/students/triage/download'" in texts["zip"]
