"""What the API does with texts that a student abstains from: with real Redis and real students, and nobody or nobody good to answer."""

import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import redis
from starlette.testclient import TestClient

from app.config import Serving, Settings
from app.contracts.cascade import ANSWER_TYPE, Ask, answer_key, asks_key, presence_key
from app.contracts.stages import Stage
from app.storage import get_storage
from tests.app.calls import refused
from tests.app.predictions.conftest import LABELS, Publish
from tests.waiting import wait_for

KEY = "key-1"
# Votes of 4 and 8 for one label of three, and of none: scores of 0.965, 0.999 and a third.
TEXTS = ["card", "card card", "what", "hm"]
SURE = {"abstained": False, "answered_by": "student", "label": "card"}
UNSURE = {"abstained": True, "answered_by": "student", "label": "card"}


@pytest.fixture
def broker(redis_url: str) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(redis_url) as connection:
        yield connection


@pytest.fixture
def triage(publish: Publish, tmp_path: Path, service_env: Settings, monkeypatch: pytest.MonkeyPatch) -> Serving:
    """A student, of which the store says that a teacher of this service taught it. Returns the settings: whoever answers has time."""
    monkeypatch.setattr(service_env.serving, "escalate_seconds", 30.0)
    publish()
    storage = get_storage()
    manifest = storage.manifest(KEY)
    assert manifest is not None
    shutil.copytree(storage.fetch(KEY), tmp_path / "taught")
    storage.drop(KEY)
    storage.publish(tmp_path / "taught", manifest.model_copy(update={"inputs": {Stage.FINETUNE_TEACHER: "teacher"}}))
    return service_env.serving


def escalated(client: TestClient, **changes: Any) -> list[dict[str, Any]]:
    answer = client.post("/predict", json={"student": "triage", "inputs": TEXTS, "min_score": 0.9, "escalate": True, **changes})
    assert answer.status_code == 200, answer.text
    found: list[dict[str, Any]] = answer.json()["predictions"]
    return found


def outlines(predictions: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{name: found[name] for name in SURE} for found in predictions]


def counted(client: TestClient) -> dict[str, float]:
    """Escalated texts by what became of them."""
    start = 'gendistil_escalated_texts_total{outcome="'
    lines = [line for line in client.get("/metrics").text.splitlines() if line.startswith(start)]
    assert all('student="triage",version="1"' in line for line in lines)
    return {line[len(start) :].partition('"')[0]: float(line.rpartition(" ")[2]) for line in lines}


@contextmanager
def answering(broker: redis.Redis, content: Callable[[Ask], bytes]) -> Iterator[list[Ask]]:
    """Someone who says what a worker says; yields what it was asked."""
    broker.set(presence_key(KEY), "someone")
    heard: list[Ask] = []
    ending = threading.Event()

    def answer() -> None:
        while not ending.is_set():
            if (taken := broker.blpop([asks_key(KEY)], timeout=0.1)) is not None:
                heard.append(Ask.model_validate_json(taken[1]))
                broker.rpush(answer_key(heard[-1].id), content(heard[-1]))

    thread = threading.Thread(target=answer)
    thread.start()
    try:
        yield heard
    finally:
        ending.set()
        thread.join()


def rows(ask: Ask) -> bytes:
    """The last label, with 0.6, for every text."""
    return np.tile([0.1, 0.3, 0.6], (len(ask.texts), 1)).astype(ANSWER_TYPE).tobytes()


def test_what_a_teacher_answers_takes_the_place_of_what_was_abstained_from(
    triage: Serving, client: TestClient, broker: redis.Redis
) -> None:
    with answering(broker, rows) as heard:
        found = escalated(client, top_k=2, out_of_scope=True)
    teachers = {"abstained": False, "answered_by": "teacher", "label": LABELS[2]}
    assert outlines(found) == [SURE, SURE, teachers, teachers]
    assert found[2]["scores"] == [{"label": LABELS[2], "score": 0.6}, {"label": LABELS[1], "score": 0.3}]
    assert [place["out_of_scope"] for place in found[2:]] == [1.0, 1.0]  # the student's own
    assert [ask.texts for ask in heard] == [TEXTS[2:]]
    assert counted(client) == {"answered": 2}
    lines = client.get("/metrics").text.splitlines()
    assert 'gendistil_escalation_seconds_count{project="default",student="triage",version="1"} 1.0' in lines
    assert 'gendistil_predict_abstained_total{project="default",student="triage",version="1"} 2.0' in lines


def test_nobody_is_asked_unless_a_text_was_abstained_from(triage: Serving, client: TestClient, broker: redis.Redis) -> None:
    with answering(broker, rows) as heard:
        assert outlines(escalated(client, escalate=False)) == [SURE, SURE, UNSURE, UNSURE]
        assert outlines(escalated(client, inputs=TEXTS[:2])) == [SURE, SURE]
    assert heard == []
    assert counted(client) == {}


def test_with_nobody_there_the_students_answer_stands(triage: Serving, client: TestClient, broker: redis.Redis) -> None:
    assert outlines(escalated(client)) == [SURE, SURE, UNSURE, UNSURE]
    assert counted(client) == {"nobody": 2}
    assert broker.llen(asks_key(KEY)) == 0


def test_one_who_says_nothing_is_not_waited_for(triage: Serving, client: TestClient, broker: redis.Redis) -> None:
    triage.escalate_seconds = 0.2
    broker.set(presence_key(KEY), "someone")
    assert outlines(escalated(client)) == [SURE, SURE, UNSURE, UNSURE]
    assert counted(client) == {"late": 2}
    # Whoever comes to it later sees that nobody waits any more, and if none comes, it goes by itself.
    (left,) = broker.lrange(asks_key(KEY), 0, -1)
    seconds, microseconds = broker.time()
    assert Ask.model_validate_json(left).until <= seconds + microseconds / 1e6
    assert 0 < broker.ttl(asks_key(KEY)) <= 30


def test_only_so_many_texts_wait_for_a_teacher(triage: Serving, client: TestClient, broker: redis.Redis) -> None:
    triage.escalate_texts = 3
    with answering(broker, rows):
        found = escalated(client, inputs=["what"] * 5)
    assert [place["answered_by"] for place in found] == ["teacher"] * 3 + ["student"] * 2
    assert [place["abstained"] for place in found] == [False] * 3 + [True] * 2
    assert counted(client) == {"answered": 3, "no_room": 2}


def test_who_waits_takes_the_room_of_others_until_answered(triage: Serving, client: TestClient, broker: redis.Redis) -> None:
    triage.escalate_texts = 3
    broker.set(presence_key(KEY), "someone")
    waiting = threading.Thread(target=escalated, args=(client,), kwargs={"inputs": ["what"] * 3})
    waiting.start()
    try:
        wait_for(lambda: bool(broker.llen(asks_key(KEY))), what="asked")
        assert outlines(escalated(client, inputs="what")) == [UNSURE]
        assert outlines(escalated(client, inputs="card")) == [SURE]
        triage.escalate_texts, triage.max_body_bytes = 4, 15  # of 12 characters that wait, and 4 more
        assert outlines(escalated(client, inputs="what")) == [UNSURE]
    finally:
        (content,) = broker.lrange(asks_key(KEY), 0, -1)
        ask = Ask.model_validate_json(content)
        broker.rpush(answer_key(ask.id), rows(ask))
        waiting.join()
    assert counted(client) == {"answered": 3, "no_room": 2}
    broker.delete(presence_key(KEY))
    escalated(client, inputs="what")
    assert counted(client) == {"answered": 3, "no_room": 2, "nobody": 1}


@pytest.mark.parametrize("content", [b"", b"\0" * 8, np.full(6, np.nan).astype(ANSWER_TYPE).tobytes()], ids=["none", "short", "no numbers"])
def test_an_answer_that_is_none_changes_nothing(triage: Serving, client: TestClient, broker: redis.Redis, content: bytes) -> None:
    with answering(broker, lambda _: content):
        assert outlines(escalated(client)) == [SURE, SURE, UNSURE, UNSURE]
    assert counted(client) == {"failed": 2}


def test_without_redis_the_students_answer_stands(
    triage: Serving, service_env: Settings, client: TestClient, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(service_env, "redis_url", "redis://127.0.0.1:1/0")
    for _ in range(2):
        assert outlines(escalated(client)) == [SURE, SURE, UNSURE, UNSURE]
    assert counted(client) == {"failed": 4}
    assert len([record for record in caplog.records if "no text is escalated" in record.message]) == 1


def test_a_student_without_a_teacher_is_told_so(publish: Publish, client: TestClient) -> None:
    publish()  # as one that was imported: made from nothing that is here
    answer = client.post("/predict", json={"student": "triage", "inputs": "card", "min_score": 0.5, "escalate": True})
    assert "triage:1" in refused(answer, 409, "no-teacher")["detail"]


def test_without_a_threshold_nothing_could_be_escalated(triage: Serving, client: TestClient) -> None:
    answer = client.post("/predict", json={"student": "triage", "inputs": "card", "escalate": True})
    assert [error["column"] for error in refused(answer, 422, "invalid-request")["errors"]] == ["escalate"]
