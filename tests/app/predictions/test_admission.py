"""So much work at a time."""

import asyncio
from collections.abc import Iterator

import pytest
from starlette.testclient import TestClient

from app.config import Serving
from app.predictions import holdback as module
from app.predictions.admission import REFUSALS_PER_SECOND, Admission, Overloaded
from app.predictions.holdback import Holdback
from app.predictions.predictor import Predictor
from tests.app.calls import predictor_of, refused
from tests.app.predictions.conftest import Publish


def test_over_the_limit_of_requests_there_is_no_room() -> None:
    admission = Admission(Serving(max_requests=2))
    with admission.admitted(1):
        admission.check()
        with admission.admitted(1):
            with pytest.raises(Overloaded, match="GENDISTIL_SERVING__MAX_REQUESTS"):
                admission.check()
            with pytest.raises(Overloaded), admission.admitted(1):
                pass
        admission.check()
    assert (admission.requests, admission.texts, admission.refused["requests"]) == (0, 0, 2)


def test_over_the_limit_of_texts_there_is_no_room() -> None:
    admission = Admission(Serving(max_texts=10))
    with admission.admitted(8):
        with pytest.raises(Overloaded, match="GENDISTIL_SERVING__MAX_TEXTS"), admission.admitted(3):
            pass
        with admission.admitted(2), pytest.raises(Overloaded, match="10 texts are in work"):
            admission.check()
    assert admission.texts == 0


def test_alone_a_request_of_any_size_is_let_in() -> None:
    admission = Admission(Serving(max_texts=10))
    with admission.admitted(1000), pytest.raises(Overloaded):
        admission.check()


def test_an_error_gives_the_room_back() -> None:
    admission = Admission(Serving(max_requests=1))
    with pytest.raises(ZeroDivisionError), admission.admitted(1):
        _ = 1 // 0
    with pytest.raises(ZeroDivisionError), admission.reading(10):
        _ = 1 // 0
    with admission.admitted(1), admission.reading(10):
        assert (admission.requests, admission.bodies, admission.body_bytes) == (1, 1, 10)


def test_bodies_keep_out_each_other_and_nothing_else() -> None:
    admission = Admission(Serving(max_requests=2, max_body_bytes=100))
    with admission.reading(90):
        with pytest.raises(Overloaded, match="GENDISTIL_SERVING__MAX_BODY_BYTES"), admission.reading(20):
            pass
        with admission.reading(5):
            with pytest.raises(Overloaded, match="2 bodies"), admission.reading(1):
                pass
            admission.check()
    with admission.reading(1000):
        pass


def test_a_flood_of_refusals_is_held_back_and_a_few_are_not(monkeypatch: pytest.MonkeyPatch) -> None:
    async def refused_at_once(number: int) -> int:
        holdback = Holdback(REFUSALS_PER_SECOND)
        tasks = [asyncio.create_task(holdback.wait()) for _ in range(number)]
        await asyncio.sleep(0)
        done = sum(task.done() for task in tasks)
        await asyncio.gather(*tasks)
        return done

    monkeypatch.setattr(module, "MAX_HOLD_SECONDS", 0.05)
    assert asyncio.run(refused_at_once(5)) == 5
    assert asyncio.run(refused_at_once(1000)) < 100
    monkeypatch.setattr(module, "MAX_HELD", 0)
    assert asyncio.run(refused_at_once(1000)) == 1000


def test_what_is_usually_too_large_is_refused_before_it_is_read() -> None:
    admission = Admission(Serving(max_texts=1000))
    for _ in range(100):
        with admission.admitted(100):
            pass
    with admission.admitted(950), pytest.raises(Overloaded):
        admission.check()
    admission = Admission(Serving(max_texts=1000))
    with admission.admitted(950):  # a single large one is not usual
        admission.check()


@pytest.fixture
def busy(client: TestClient, publish: Publish) -> Iterator[Predictor]:
    """The client's own predictor, with a published student."""
    publish()
    predictor = predictor_of(client)
    yield predictor
    assert (predictor.admission.requests, predictor.admission.texts, predictor.admission.bodies) == (0, 0, 0)


def test_a_busy_service_answers_429_and_then_200_again(client: TestClient, busy: Predictor) -> None:
    body = {"student": "triage", "inputs": "my card"}
    with busy.admission.admitted(5000):
        answer = client.post("/predict", json=body)
    problem = refused(answer, 429, "overloaded")
    assert answer.headers["retry-after"] == "1"
    assert problem["request_id"] == answer.headers["x-request-id"]
    assert client.post("/predict", json=body).status_code == 200
    assert 'gendistil_predict_refused_total{limit="texts"} 1.0' in client.get("/metrics").text


def test_a_list_that_finds_too_little_room_is_refused(client: TestClient, busy: Predictor) -> None:
    with busy.admission.admitted(4999):
        assert client.post("/predict", json={"student": "triage", "inputs": ["my card"] * 2}).status_code == 429
        assert client.post("/predict", json={"student": "triage", "inputs": "my card"}).status_code == 200
