"""Events as pages and as a live stream."""

import asyncio
import json
import threading
import time
from typing import Any

import pytest
from sqlalchemy.orm import Session
from starlette.testclient import TestClient

from app.database import transaction
from app.jobs import events, lifecycle
from app.tables import Job

ROWS = [{"text": f"{label} text number {number}", "label": label} for label in ("a", "b") for number in range(6)]
ERROR = {"type": "broken", "detail": "it broke", "remedy": "mend it"}


@pytest.fixture
def job_id(api: TestClient) -> str:
    answer = api.post("/jobs", json={"name": "triage", "dataset": {"rows": ROWS}})
    found: str = answer.json()["id"]
    return found


def start(session: Session, job_id: str) -> int:
    run = session.get_one(Job, job_id).stages[0]
    assert lifecycle.claim(session, run.id, "worker-1") is not None
    return run.id


def fail(job_id: str, run_id: int) -> None:
    with transaction() as session:
        assert lifecycle.fail_stage(session, run_id, 1, ERROR, retry=False, max_attempts=1)


def parse(stream: str) -> list[dict[str, str]]:
    """Server-Sent Events without the comments and the opening `retry`."""
    blocks = [dict(line.split(": ", 1) for line in block.splitlines() if not line.startswith(":")) for block in stream.split("\n\n")]
    return [block for block in blocks if "data" in block]


def test_pages(api: TestClient, job_id: str) -> None:
    with transaction() as session:
        run_id = start(session, job_id)
    fail(job_id, run_id)
    first = api.get(f"/jobs/{job_id}/events", params={"limit": 2}).json()
    assert [event["type"] for event in first["items"]] == ["job_queued", "stage_started"]
    assert first["items"][1]["stage"] == "finetune_teacher"
    assert first["items"][1]["data"] == {"shard": 0, "attempt": 1, "worker": "worker-1"}
    second = api.get(f"/jobs/{job_id}/events", params={"limit": 2, "after": first["next_after"]}).json()
    assert [event["type"] for event in second["items"]] == ["job_failed"]
    assert (second["has_more"], second["next_after"]) == (False, None)
    assert api.get(f"/jobs/{job_id}/events", params={"after": -1}).status_code == 422


def test_the_stream_ends_with_the_job_and_can_be_resumed(api: TestClient, job_id: str) -> None:
    with transaction() as session:
        run_id = start(session, job_id)
    timer = threading.Timer(0.7, fail, (job_id, run_id))
    timer.start()
    began = time.monotonic()
    answer = api.get(f"/jobs/{job_id}/events", headers={"accept": "text/event-stream"})
    timer.join()
    assert time.monotonic() - began >= 0.7
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert answer.headers["cache-control"] == "no-cache"
    found = parse(answer.text)
    assert [event["event"] for event in found] == ["job_queued", "stage_started", "job_failed"]
    assert json.loads(found[2]["data"])["data"]["error"] == ERROR
    headers = {"accept": "text/event-stream", "last-event-id": found[1]["id"]}
    rest = api.get(f"/jobs/{job_id}/events", headers=headers, params={"after": 0})
    assert [event["event"] for event in parse(rest.text)] == ["job_failed"]
    listed = [event["id"] for event in api.get(f"/jobs/{job_id}/events").json()["items"]]
    assert [int(event["id"]) for event in found] == listed


def test_an_idle_stream_is_kept_alive(api: TestClient, job_id: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "KEEPALIVE_SECONDS", 0.0)
    monkeypatch.setattr(events, "POLL_SECONDS", 0.01)

    async def read(count: int) -> list[bytes]:
        stream: Any = events.stream_events(job_id, 0, lambda _job: None)
        chunks = [await anext(stream) for _ in range(count)]
        await stream.aclose()
        return chunks

    chunks = asyncio.run(read(5))
    assert chunks[0] == b"retry: 2000\n\n"
    assert b"event: job_queued" in chunks[1]
    assert chunks[2:] == [b": ping\n\n"] * 3


def test_a_stream_ends_with_the_job_that_is_deleted(api: TestClient, job_id: str) -> None:
    assert api.post(f"/jobs/{job_id}/cancel").status_code == 202
    assert api.delete(f"/jobs/{job_id}").status_code == 204

    async def read() -> list[Any]:
        return [event async for event in events.follow_events(job_id, 0, lambda _job: None)]

    assert asyncio.run(asyncio.wait_for(read(), 30)) == []
