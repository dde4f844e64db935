"""What a real API process logs of its requests."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import pytest

from app.config import Settings
from app.database import get_engine
from tests.servers import free_port
from tests.waiting import wait_for

Json = dict[str, Any]
SECRET = "my card ending 4711 was stolen"


class Api:
    def __init__(self, process: "subprocess.Popen[bytes]", log: Path, url: str) -> None:
        self.process, self.log, self.url = process, log, url

    def events(self) -> list[Json]:
        return [json.loads(line) for line in self.log.read_text().splitlines()]

    def request(self, method: str, path: str, **options: Any) -> httpx.Response:
        return httpx.request(method, f"{self.url}{path}", timeout=30, trust_env=False, **options)

    def answers(self) -> bool:
        assert self.process.poll() is None, self.log.read_text()
        with suppress(httpx.TransportError):
            return self.request("GET", "/healthz").status_code == 200
        return False

    def access(self, request_id: str) -> Json:
        """The access line, which is written after the answer."""

        def lines() -> list[Json]:
            return [event for event in self.events() if event.get("request_id") == request_id and "seconds" in event]

        (line,) = wait_for(lines, what=self.log.read_text)
        return line


@contextmanager
def api_process(folder: Path, **settings: str) -> Iterator[Api]:
    url, log = f"http://127.0.0.1:{(port := free_port())}", folder / "api.log"
    command = [sys.executable, "-m", "uvicorn", "app.main:app", "--port", str(port)]
    with (
        log.open("wb") as output,
        subprocess.Popen(command, env={**os.environ, **settings}, cwd=folder, stdout=output, stderr=output) as process,
    ):
        api = Api(process, log, url)
        try:
            wait_for(api.answers, what=log.read_text)
            yield api
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(30)


@pytest.fixture
def api(service_env: Settings, tmp_path: Path) -> Iterator[Api]:
    with api_process(tmp_path) as found:
        yield found


def test_every_request_has_one_line_with_its_route_and_no_text_of_a_user(api: Api) -> None:
    rows = [{"text": f"{SECRET} {number}", "label": "a"} for number in range(3)]
    began = time.monotonic()
    answers = {
        "one": api.request("GET", "/jobs/job_of_mine", headers={"x-request-id": "one"}),
        "two": api.request("POST", "/datasets", json={"rows": rows}, headers={"x-request-id": "two"}),
        "three": api.request("POST", "/predict", json={"student": "triage", "inputs": [SECRET]}, headers={"x-request-id": "three"}),
        "four": api.request("GET", f"/{SECRET}?text={SECRET}", headers={"x-request-id": "four"}),
    }
    lines = {request_id: api.access(request_id) for request_id in answers}
    assert {name: (line["method"], line["route"], line["status"]) for name, line in lines.items()} == {
        "one": ("GET", "/jobs/{job_id}", 404),
        "two": ("POST", "/datasets", 422),
        "three": ("POST", "/predict", 404),
        "four": ("unmatched", "unmatched", 404),
    }
    assert {line["level"] for line in lines.values()} == {"INFO"}
    assert all(line["seconds"] > 0 for line in lines.values())
    assert sum(line["seconds"] for line in lines.values()) < time.monotonic() - began
    for request_id, answer in answers.items():
        assert answer.headers["x-request-id"] == answer.json()["request_id"] == request_id
    assert "4711" not in api.log.read_text()
    assert "job_of_mine" not in api.log.read_text()


def test_the_servers_own_lines_are_events_too(api: Api) -> None:
    api.request("GET", "/readyz", headers={"x-request-id": "ready"})
    api.request("GET", "/jobs", headers={"x-request-id": "jobs"})
    assert api.access("jobs")
    api.process.send_signal(signal.SIGTERM)
    api.process.wait(30)
    events = api.events()
    assert [event for event in events if event["logger"].startswith("uvicorn")]
    assert not [event for event in events if event["logger"] == "uvicorn.access"]
    # Health checks come every few seconds, and say nothing while all is well.
    assert {event.get("request_id") for event in events} == {None, "jobs"}


def test_a_fault_is_logged_with_its_trace_under_the_requests_id(api: Api) -> None:
    with get_engine().begin() as connection:
        connection.exec_driver_sql(
            "INSERT INTO datasets (id, content_hash, rows, test_rows, label_counts, mean_chars, warnings, created_at)"
            " VALUES ('ds_1', 'h', 1, 0, 'no json', 1.0, '[]', '2030-01-01 00:00:00')"
        )
    answer = api.request("GET", "/datasets/ds_1", headers={"x-request-id": "fault"})
    assert answer.status_code == 500
    assert answer.json()["request_id"] == "fault"
    assert api.access("fault")["level"] == "WARNING"
    traces = [event for event in api.events() if "exception" in event]
    assert traces
    assert {event["request_id"] for event in traces} == {"fault"}
    assert "JSONDecodeError" in traces[0]["exception"]


def test_a_failing_statement_is_logged_without_its_values(api: Api) -> None:
    with get_engine().begin() as connection:
        connection.exec_driver_sql("DROP TABLE aliases")
    answer = api.request("POST", "/predict", json={"student": "name-of-mine", "inputs": SECRET}, headers={"x-request-id": "gone"})
    assert answer.status_code == 503
    api.access("gone")
    (event,) = [event for event in api.events() if event["level"] == "ERROR"]
    assert event["request_id"] == "gone"
    assert "aliases" in event["message"]
    assert "name-of-mine" not in api.log.read_text()


def test_text_and_debug_on_request(service_env: Settings, tmp_path: Path) -> None:
    with api_process(tmp_path, GENDISTIL_LOG_FORMAT="text", GENDISTIL_LOG_LEVEL="DEBUG") as api:
        pass
    shown = api.log.read_text()
    assert "app.system.middleware: GET /healthz: 200  request_id=" in shown
    assert "uvicorn.error: Started server process" in shown
