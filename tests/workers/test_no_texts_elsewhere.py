"""No text of a user's, and none that was generated from it, where it does not belong: logs, messages, events, errors, webhooks.

Of whole jobs at the default level of the log, whether they go well or fail with a text in what is raised.
"""

import io
import json
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import redis
from pydantic import TypeAdapter, ValidationError
from sqlalchemy import select
from sqlalchemy.exc import IntegrityError
from starlette.testclient import TestClient

from app.config import Settings
from app.contracts.stages import GRAPH, JobStatus, Stage
from app.database import transaction
from app.logs import JsonFormatter
from app.storage import get_storage
from app.tables import Base, Event, Job
from tests.workers.conftest import Submit
from tests.workers.jobs import read, run_all, run_of, run_stage
from tests.workers.tiny import make_rows
from workers.failures import told
from workers.pipeline import label as label_stage

pytestmark = pytest.mark.usefixtures("in_this_process")
TEXT = make_rows(20)[7].text
LONG_ENOUGH = 20
"""Characters from which a text is no chance word of a log."""


@contextmanager
def logged(level: int = logging.INFO) -> Iterator[io.StringIO]:
    """What the process logs meanwhile, as it would be written."""
    stream, root = io.StringIO(), logging.getLogger()
    handler, before = logging.StreamHandler(stream), root.level
    handler.setFormatter(JsonFormatter())
    root.addHandler(handler)
    root.setLevel(level)
    try:
        yield stream
    finally:
        root.removeHandler(handler)
        root.setLevel(before)


def in_redis(url: str) -> str:
    """All that it holds: queues are lists, and Celery's bindings sets."""
    with redis.Redis.from_url(url, decode_responses=True) as client:
        keys = client.keys("*")
        kinds = {key: client.type(key) for key in keys}
        read: dict[str, Callable[[str], Any]] = {
            "list": lambda key: client.lrange(key, 0, -1),
            "set": client.smembers,
            "string": client.get,
        }
        return repr([read.get(kinds[key], client.hgetall)(key) for key in keys])


def in_tables() -> str:
    """Every row of every table."""
    with transaction() as session:
        return "\n".join(repr(row) for table in Base.metadata.sorted_tables for row in session.execute(select(table)))


def generated(job_id: str) -> list[str]:
    key = run_of(job_id, Stage.GENERATE).artefact_key
    assert key is not None
    lines = get_storage().read_verified(key, "texts.jsonl").decode().split("\n")
    return [json.loads(line)["text"] for line in lines if line]


def held(place: str, texts: list[str]) -> list[str]:
    return [text for text in texts if len(text) >= LONG_ENOUGH and (text in place or json.dumps(text)[1:-1] in place)]


def subscribe(client: TestClient) -> None:
    assert client.post("/webhooks", json={"url": "https://93.184.215.14/hook"}).status_code == 201


def test_a_job_that_goes_well(service_env: Settings, submit: Submit, client: TestClient) -> None:
    subscribe(client)
    with logged() as log:
        job_id = submit(distil={"student": "bag"}, privacy={"tell_samples": False})
        queued = in_redis(service_env.redis_url)
        assert "run_stage" in queued
        job = run_all(job_id)
    assert job.status == JobStatus.SUCCEEDED, job.error
    texts = [*(row.text for row in make_rows(20)), *generated(job_id)]
    assert "publish begins" in log.getvalue()
    tables = in_tables()
    assert "job.succeeded" in tables
    for place in (log.getvalue(), queued, in_redis(service_env.redis_url), tables):
        assert held(place, texts) == []


def test_by_default_generated_texts_are_told_as_events_and_nowhere_else(service_env: Settings, submit: Submit, client: TestClient) -> None:
    subscribe(client)
    with logged() as log:
        job_id = submit(distil={"student": "bag"})
        run_all(job_id)
    texts = [text for text in generated(job_id) if len(text) >= LONG_ENOUGH]
    with transaction() as session:
        samples = set(session.scalars(select(Event.message).where(Event.type == "sample")))
        assert samples & set(texts)
        session.query(Event).filter(Event.type == "sample").delete()
    texts += [row.text for row in make_rows(20)]
    for place in (log.getvalue(), in_redis(service_env.redis_url), in_tables()):
        assert held(place, texts) == []


def refused_by_pydantic() -> ValidationError:
    with pytest.raises(ValidationError) as refused:
        TypeAdapter(int).validate_python(TEXT)
    return refused.value


ERRORS: list[Exception] = [
    KeyError(TEXT),
    ValueError(f"could not convert string to float: {TEXT!r}"),
    RuntimeError(f"odd text: {TEXT}"),
    TypeError(TEXT),
    Exception(TEXT),  # as tokenizers raises
    IntegrityError("INSERT", {"message": TEXT}, Exception(f"DETAIL: Failing row contains ({TEXT})")),
    refused_by_pydantic(),
]


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_a_stage_that_fails_with_a_text_in_what_it_raises(
    service_env: Settings, submit: Submit, client: TestClient, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def fail(*_: Any) -> None:
        try:
            raise error
        except Exception as cause:
            raise RuntimeError(f"while reading {TEXT!r}") from cause if isinstance(error, KeyError) else error  # a chain of two

    subscribe(client)
    monkeypatch.setattr(label_stage, "recombine", fail)
    job_id = submit(generate={"texts": 0})
    with logged() as log:
        for stage in list(GRAPH)[:4]:
            run_stage(job_id, stage)
    job = read(job_id)
    assert job.status == JobStatus.FAILED
    assert job.error is not None
    assert job.error["stage"] == "label"
    assert job.error["detail"]
    shown = client.get(f"/jobs/{job_id}").text + client.get(f"/jobs/{job_id}/events").text + client.get(f"/ui/jobs/{job_id}").text
    assert type(error).__name__ in log.getvalue()
    assert "test_no_texts_elsewhere.py" in log.getvalue()  # the frames are there
    for place in (log.getvalue(), in_redis(service_env.redis_url), in_tables(), shown):
        assert TEXT not in place
        assert held(place, [row.text for row in make_rows(20)]) == []


def test_at_debug_the_log_has_it(service_env: Settings, submit: Submit, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any) -> None:
        raise KeyError(TEXT)

    monkeypatch.setattr(label_stage, "recombine", fail)
    job_id = submit(generate={"texts": 0})
    with logged(logging.DEBUG) as log:
        for stage in list(GRAPH)[:4]:
            run_stage(job_id, stage)
    assert TEXT in log.getvalue()
    with transaction() as session:
        assert TEXT not in str(session.get_one(Job, job_id).error)


def test_a_failure_says_where_it_was_raised() -> None:
    try:
        {}[TEXT]
    except KeyError as error:
        detail = told(error).detail
    assert detail.startswith("KeyError at test_no_texts_elsewhere.py:")
    assert "DEBUG" in detail
