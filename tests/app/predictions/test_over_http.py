"""`/predict` as a real server answers it, while names move, clients are slow and the database is busy elsewhere."""

import json
import re
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager

import httpx
import pytest
import uvicorn

from app.config import Settings, get_settings
from app.main import create_app
from app.predictions.admission import Admission
from app.predictions.predictor import Predictor
from tests.app.predictions.conftest import LABELS, VOTES, Publish, onnx_model, statements
from tests.servers import free_port
from tests.waiting import wait_for


class Server:
    """The API on a port of its own, in a thread of this process."""

    def __init__(self) -> None:
        self.app = create_app()
        self.port = free_port()
        self._server = uvicorn.Server(uvicorn.Config(self.app, host="127.0.0.1", port=self.port, log_level="warning"))
        self._thread = threading.Thread(target=self._server.run)

    @property
    def predictor(self) -> Predictor:
        found: Predictor = self.app.state.predictor
        return found

    def client(self) -> httpx.Client:
        return httpx.Client(base_url=f"http://127.0.0.1:{self.port}", timeout=60, trust_env=False)

    def __enter__(self) -> "Server":
        self._thread.start()
        wait_for(lambda: self._server.started, what="the server started")
        return self

    def __exit__(self, *_error: object) -> None:
        self._server.should_exit = True
        self._thread.join(timeout=60)


@pytest.fixture
def server(service_env: Settings, publish: Publish) -> Iterator[Server]:
    """With `triage:1`, which answers with a word's own label, and `triage:2`, which turns the labels round; `latest` is 2."""
    publish()
    publish(model=onnx_model(VOTES[:, ::-1].copy()))
    with Server() as server:
        yield server


def body(text: str = "my card", student: str = "triage") -> dict[str, str]:
    return {"student": student, "inputs": text}


def test_an_answer_tells_where_the_time_went(server: Server) -> None:
    with server.client() as client:
        answer = client.post("/predict", json=body(), headers={"X-Request-ID": "mine"})
    assert answer.headers["x-request-id"] == "mine"
    timing = re.fullmatch(r"tokenize;dur=([\d.]+), infer;dur=([\d.]+), total;dur=([\d.]+)", answer.headers["server-timing"])
    assert timing is not None
    tokenize, infer, total = map(float, timing.groups())
    assert tokenize >= 0
    assert 0 < infer < total


def test_a_prediction_asks_the_database_nothing(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    server.predictor.resolver.stop()
    server.predictor.resolver._refresh_seconds = 3600
    server.predictor.resolver.start()
    with server.client() as client:
        client.post("/predict", json=body()).raise_for_status()
        with statements() as sent:
            for student in ("triage", "triage:1", "triage@latest", "triage:2"):
                client.post("/predict", json=body(student=student)).raise_for_status()
    assert sent == []


def test_an_alias_that_moves_under_load_loses_no_request_and_mixes_no_answer(server: Server) -> None:
    stop = threading.Event()

    def ask(number: int) -> list[tuple[int, int, str]]:
        word = LABELS[number % 3]
        found = []
        with server.client() as client:
            while not stop.is_set():
                answer = client.post("/predict", json=body(f"my {word}"))
                content = answer.json()
                found.append(
                    (answer.status_code, content.get("version", 0), content["predictions"][0]["label"] if answer.is_success else "")
                )
        return [(status, version, f"{word} {label}") for status, version, label in found]

    with ThreadPoolExecutor(6) as pool, server.client() as client:
        asking = [pool.submit(ask, number) for number in range(6)]
        try:
            for number in range(20):
                version = number % 2 + 1
                client.put("/students/triage/aliases/latest", json={"version": version}).raise_for_status()
                # Whoever moved it sees it moved.
                assert client.post("/predict", json=body()).json()["version"] == version
        finally:
            stop.set()
        found = {answer for future in asking for answer in future.result(60)}
    turned = dict(zip(LABELS, reversed(LABELS), strict=True))
    expected = {(200, 1, f"{label} {label}") for label in LABELS} | {(200, 2, f"{label} {turned[label]}") for label in LABELS}
    assert found <= expected
    assert {version for _status, version, _label in found} == {1, 2}


def test_concurrent_callers_and_large_lists_get_their_own_answers(server: Server) -> None:
    def ask(number: int) -> bool:
        words = [LABELS[(number + place) % 3] for place in range(300 if number % 4 == 0 else 1)]
        with server.client() as client:
            answer = client.post("/predict", json={"student": "triage:1", "inputs": words}).raise_for_status().json()
        return [found["label"] for found in answer["predictions"]] == words

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(ask, range(40)))


def test_a_slow_body_is_given_up(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(get_settings().serving, "body_seconds", 0.5)
    begun, reading = threading.Event(), Admission.reading

    def noted(admission: Admission, size: int) -> AbstractContextManager[None]:
        begun.set()
        return reading(admission, size)

    monkeypatch.setattr(Admission, "reading", noted)
    with socket.create_connection(("127.0.0.1", server.port), timeout=30) as slow, server.client() as client:
        slow.sendall(b"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n{")
        assert begun.wait(60)
        assert client.post("/predict", json=body()).status_code == 200  # it holds up no one
        answer = b""
        while chunk := slow.recv(65536):  # the connection is closed: the rest is not waited for
            answer += chunk
    assert answer.startswith(b"HTTP/1.1 408")
    problem = json.loads(answer.partition(b"\r\n\r\n")[2])
    assert problem["type"] == "urn:gendistil:body-timeout"
    assert "GENDISTIL_SERVING__BODY_SECONDS" in problem["detail"]
    assert server.predictor.admission.bodies == 0


def test_a_body_too_large_is_refused_before_it_arrives(server: Server) -> None:
    with socket.create_connection(("127.0.0.1", server.port), timeout=30) as client:
        client.sendall(b"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99999999999\r\n\r\n")
        assert client.recv(65536).startswith(b"HTTP/1.1 413")


def test_metrics_tell_of_students_batches_labels_and_the_cache(server: Server) -> None:
    with server.client() as client:
        for text in ("my card", "my pin"):
            client.post("/predict", json={**body(text, "triage:1"), "min_score": 0.5}).raise_for_status()
        client.post("/predict", json={**body("hello", "triage:1"), "min_score": 0.5}).raise_for_status()
        lines = client.get("/metrics").text.splitlines()
    student = 'project="default",student="triage",version="1"'
    assert f"gendistil_predict_seconds_count{{{student}}} 3.0" in lines
    assert f"gendistil_predict_texts_total{{{student}}} 3.0" in lines
    assert f"gendistil_predict_abstained_total{{{student}}} 1.0" in lines
    assert f'gendistil_predict_labels_total{{label="card",{student}}} 2.0' in lines  # equal scores: the first label
    assert f'gendistil_predict_labels_total{{label="pin",{student}}} 1.0' in lines
    assert 'gendistil_predict_batch_texts_bucket{le="1"} 3.0' in lines
    assert "gendistil_student_cache_misses_total 1.0" in lines
    assert "gendistil_student_cache_hits_total 2.0" in lines
    assert "gendistil_student_cache_students 1.0" in lines
    assert "gendistil_predict_requests 0.0" in lines


def test_the_route_is_documented_and_takes_one_method(server: Server) -> None:
    with server.client() as client:
        operation = client.get("/openapi.json").json()["paths"]["/predict"]["post"]
        assert {"200", "400", "404", "408", "413", "422", "429", "503"} <= set(operation["responses"])
        assert "inputs" in json.dumps(operation["requestBody"])
        refused = client.get("/predict")
    assert (refused.status_code, refused.json()["type"]) == (405, "urn:gendistil:method-not-allowed")
    assert refused.headers["allow"] == "POST"
