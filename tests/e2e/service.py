"""Real processes of the service, and what a caller does with it over HTTP."""

import csv
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from tests.waiting import wait_for

EXAMPLES = Path(__file__).parents[2] / "examples"
BIN = Path(sys.executable).parent
ENDED = {"succeeded", "failed", "cancelled"}
STAGES = ["finetune_teacher", "finetune_generator", "generate", "label", "distil", "publish"]
Json = dict[str, Any]


@contextmanager
def process(command: list[str], log: Path, env: dict[str, str] | None = None) -> Iterator[subprocess.Popen[bytes]]:
    """Runs `command` in the log's folder, where no `.env` lies, deaf to a Ctrl-C meant for pytest; SIGTERM at the end."""
    with log.open("ab") as output:
        running = subprocess.Popen(
            command, stdout=output, stderr=subprocess.STDOUT, cwd=log.parent, env={**os.environ, **(env or {})}, start_new_session=True
        )
    try:
        yield running
    finally:
        if running.poll() is None:
            running.terminate()
            try:
                running.wait(60)
            except subprocess.TimeoutExpired:
                os.killpg(running.pid, signal.SIGKILL)
                running.wait()


@contextmanager
def client(url: str) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=url, timeout=60, trust_env=False) as found:
        yield found


def banking(labels: list[str], rows: int, test: int) -> Json:
    """The first rows of each label from the bundled example, as an inline dataset with its own test rows."""
    parts: dict[str, list[dict[str, str]]] = {}
    for part, name, count in (("rows", "banking10.csv", rows), ("test", "banking10_test.csv", test)):
        with (EXAMPLES / name).open(newline="") as file:
            every = list(csv.DictReader(file))
        parts[part] = [row for label in labels for row in [row for row in every if row["label"] == label][:count]]
    return dict(parts)


def ok(answer: httpx.Response, status: int = 200) -> Json:
    assert answer.status_code == status, answer.text
    body: Json = answer.json()
    return body


def ready(url: str) -> bool:
    try:
        return httpx.get(f"{url}/readyz", timeout=10, trust_env=False).status_code == 200
    except httpx.TransportError:
        return False


def stage_of(job: Json, name: str) -> Json:
    found: Json = next(stage for stage in job["stages"] if stage["name"] == name)
    return found


def follow(api: httpx.Client, job_id: str, until: Callable[[Json], bool], seconds: float) -> list[Json]:
    """Every state of the job that was seen, until one satisfies `until`. A job that ends otherwise fails the test."""
    seen: list[Json] = []

    def arrived() -> bool:
        seen.append(ok(api.get(f"/jobs/{job_id}")))
        assert until(seen[-1]) or seen[-1]["status"] not in ENDED, seen[-1]
        return until(seen[-1])

    wait_for(arrived, seconds, f"job {job_id}", every=0.2)
    return seen


def all_events(api: httpx.Client, job_id: str) -> list[Json]:
    """The pages of a job's events, one after the other."""
    events: list[Json] = []
    after: int | None = 0
    while after is not None:
        page = ok(api.get(f"/jobs/{job_id}/events", params={"after": after}))
        events += page["items"]
        after = page["next_after"]
    return events


def succeeded(job: Json) -> bool:
    return bool(job["status"] == "succeeded")


class Stream(threading.Thread):
    """Reads a job's Server-Sent Events until the service ends the stream."""

    def __init__(self, api: httpx.Client, job_id: str, last_event_id: str | None = None) -> None:
        super().__init__(daemon=True)
        self.url = f"{api.base_url}/jobs/{job_id}/events"
        self.headers = {"Accept": "text/event-stream"} | ({"Last-Event-ID": last_event_id} if last_event_id else {})
        self.events: list[Json] = []
        self.start()

    def run(self) -> None:
        with httpx.stream("GET", self.url, headers=self.headers, timeout=60, trust_env=False) as answer:
            for line in answer.iter_lines():
                if line.startswith("data: "):
                    self.events.append(json.loads(line.removeprefix("data: ")))

    def read(self) -> list[Json]:
        self.join(30)
        assert not self.is_alive(), "the stream goes on after the end of its job"
        return self.events
