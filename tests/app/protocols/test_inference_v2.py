"""The Open Inference Protocol v2: with Triton's own client against a real server, and by hand."""

import json
import struct
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import tritonclient.http as triton
from starlette.testclient import TestClient
from tritonclient.utils import InferenceServerException

from app.config import get_settings
from app.errors import ServiceError
from app.protocols.inference_v2 import read_query
from tests.app.predictions.conftest import LABELS, VOTES, onnx_model

Publish = Callable[..., int]
TEXTS = ["my card", "the pin", "money money", "nothing known"]


@pytest.fixture
def server(publish: Publish, request: pytest.FixtureRequest) -> Iterator[triton.InferenceServerClient]:
    """Version 1 of `triage` is another model than version 2. Both are there before the server is, which takes a second to see changes."""
    publish(model=onnx_model(VOTES[:, ::-1].copy()))
    publish()
    url: str = request.getfixturevalue("service_url")
    with triton.InferenceServerClient(url.removeprefix("http://")) as client:
        yield client


def text_input(texts: list[str], shape: list[int] | None = None, binary: bool = True) -> triton.InferInput:
    given = triton.InferInput("text", shape or [len(texts)], "BYTES")
    return given.set_data_from_numpy(np.array(texts, dtype=np.object_).reshape(shape or [len(texts)]), binary_data=binary)


def test_health_and_metadata(server: triton.InferenceServerClient) -> None:
    assert server.is_server_live()
    assert server.is_server_ready()
    assert server.is_model_ready("triage")
    assert server.is_model_ready("triage", "1")
    assert not server.is_model_ready("triage", "3")
    assert not server.is_model_ready("nobody")
    assert server.get_server_metadata()["extensions"] == ["binary_tensor_data"]
    found = server.get_model_metadata("triage")
    assert (found["name"], found["versions"]) == ("triage", ["1", "2"])
    assert found["inputs"] == [{"name": "text", "datatype": "BYTES", "shape": [-1]}]
    assert [output["name"] for output in found["outputs"]] == ["label", "score", "scores"]
    assert found["outputs"][2]["parameters"] == {"labels": LABELS}
    assert server.get_model_metadata("triage", "latest") == found


@pytest.mark.parametrize("binary_in", [True, False])
@pytest.mark.parametrize("binary_out", [None, True, False])
def test_the_answers_are_those_of_predict(
    server: triton.InferenceServerClient, client: TestClient, binary_in: bool, binary_out: bool | None
) -> None:
    """`None`: no outputs are asked for, so all come, as the client wants them by itself."""
    names = ("label", "score", "scores")
    outputs = None if binary_out is None else [triton.InferRequestedOutput(name, binary_data=binary_out) for name in names]
    result = server.infer("triage", [text_input(TEXTS, binary=binary_in)], outputs=outputs, request_id="7")
    expected = client.post("/predict", json={"student": "triage", "inputs": TEXTS, "top_k": 3}).json()["predictions"]
    assert [_text(label) for label in result.as_numpy("label")] == [answer["label"] for answer in expected]
    assert result.as_numpy("score").tolist() == [np.float32(answer["score"]) for answer in expected]
    by_label = [{score["label"]: np.float32(score["score"]) for score in answer["scores"]} for answer in expected]
    assert result.as_numpy("scores").tolist() == [[scores[label] for label in LABELS] for scores in by_label]
    head = result.get_response()
    assert (head["model_name"], head["model_version"], head["id"]) == ("triage", "2", "7")


def _text(label: bytes | str) -> str:
    return label.decode() if isinstance(label, bytes) else label


def test_a_column_of_texts_gets_a_column(server: triton.InferenceServerClient) -> None:
    result = server.infer("triage", [text_input(TEXTS, [4, 1])], outputs=[triton.InferRequestedOutput("label")])
    assert result.as_numpy("label").shape == (4, 1)
    assert [output["name"] for output in result.get_response()["outputs"]] == ["label"]


def test_versions_and_aliases(server: triton.InferenceServerClient, client: TestClient) -> None:
    client.put("/students/triage/aliases/champion", json={"version": 1})
    labels = {}
    for name, version in (("triage", ""), ("triage", "1"), ("triage", "champion"), ("triage@champion", ""), ("triage:2", "")):
        result = server.infer(name, [text_input(["card"])], model_version=version)
        labels[name, version] = (result.as_numpy("label")[0].decode(), result.get_response()["model_version"])
    assert labels == {
        ("triage", ""): ("card", "2"),
        ("triage", "1"): ("pin", "1"),
        ("triage", "champion"): ("pin", "1"),
        ("triage@champion", ""): ("pin", "1"),
        ("triage:2", ""): ("card", "2"),
    }


def test_the_client_understands_the_errors(server: triton.InferenceServerClient) -> None:
    def refused(name: str, *inputs: triton.InferInput, **options: Any) -> tuple[str, str]:
        with pytest.raises(InferenceServerException) as caught:
            server.infer(name, list(inputs), **options)
        return caught.value.status(), caught.value.message()

    good = text_input(["card"])
    status, message = refused("triages", good)
    assert (status, "Close to it: triage" in message) == ("404", True)
    status, message = refused("triage", good, model_version="9")
    assert (status, "triage:2" in message) == ("404", True)
    status, message = refused("triage", text_input([" "]))
    assert (status, "the text is empty" in message) == ("400", True)
    status, message = refused("triage", good, outputs=[triton.InferRequestedOutput("colour")])
    assert (status, "label, score, scores" in message) == ("400", True)
    status, message = refused("triage", good, outputs=[triton.InferRequestedOutput("label", class_count=2)])
    assert (status, "classification" in message) == ("400", True)
    assert refused("triage", good, request_compression_algorithm="gzip")[0] == "415"
    with pytest.raises(InferenceServerException, match="no alias"):
        server.get_model_metadata("triage", "best")


def test_a_broken_student_is_not_ready(client: TestClient, publish: Publish) -> None:
    publish(model=b"this is no ONNX file")
    ready = client.get("/v2/models/triage/ready")
    answer = client.post("/v2/models/triage/infer", json=body())
    assert (ready.status_code, answer.status_code) == (503, 503)
    assert "cannot be served" in ready.json()["error"]


def body(**changes: Any) -> dict[str, Any]:
    return {"inputs": [{"name": "text", "shape": [1], "datatype": "BYTES", "data": ["card"], **changes}]}


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"name": "colour"}, "'colour' (BYTES)"),
        ({"datatype": "FP32"}, "(FP32)"),
        ({"shape": [2]}, "says 2 texts; there are 1"),
        ({"shape": [1, 2]}, "not [1, 2]"),
        ({"shape": []}, "not []"),
        ({"shape": [-1]}, "not [-1]"),
        ({"shape": ["1"]}, "inputs.0.shape.0"),
        ({"shape": [True]}, "inputs.0.shape.0"),
        ({"data": [5]}, "must be strings"),
        ({"data": [[["card"]]]}, "must be strings"),
        ({"data": None}, "there are 0"),
        ({"parameters": {"binary_data_size": 3}}, "both"),
        ({"data": None, "parameters": {"binary_data_size": 3}}, "claims 3 bytes; 0 follow"),
        ({"data": None, "parameters": {"binary_data_size": True}}, "claims True bytes"),
        ({"data": None, "parameters": {"shared_memory_region": "x"}}, "there are 0"),
    ],
)
def test_tensors_that_cannot_be_used(changes: dict[str, Any], fault: str) -> None:
    with pytest.raises(ServiceError) as caught:
        read_query(json.dumps(body(**changes)).encode(), None)
    assert caught.value.problem.status == 422
    assert fault in caught.value.problem.detail


@pytest.mark.parametrize(
    ("content", "length", "type", "fault"),
    [
        (b"{", None, "malformed-json", "not valid JSON"),
        (b"[]", None, "invalid-request", "body"),
        (b"\xff", None, "not-utf8", "not UTF-8"),
        (b'{"inputs": []}', None, "invalid-request", "given: none"),
        (b'{"inputs": []}', "99", "invalid-request", "the body has 14 bytes"),
        (b'{"inputs": []}', "-1", "invalid-request", "the body has 14 bytes"),
        (b'{"inputs": []}', "x", "invalid-request", "the body has 14 bytes"),
        (json.dumps(body()).encode() + b"more", str(len(json.dumps(body()))), "invalid-request", "no input claims them"),
    ],
)
def test_bodies_that_cannot_be_read(content: bytes, length: str | None, type: str, fault: str) -> None:
    with pytest.raises(ServiceError) as caught:
        read_query(content, length)
    assert caught.value.problem.type == f"urn:gendistil:{type}"
    assert fault in caught.value.problem.detail


@pytest.mark.parametrize(
    ("binary", "fault"),
    [
        (b"\x05\x00\x00\x00card", "goes past its end"),
        (b"\x04\x00\x00", "goes past its end"),
        (b"\x01\x00\x00\x00\xff", "not UTF-8"),
        (struct.pack("<I", 1) + b"a" + struct.pack("<I", 1) + b"b", "says 1 texts; there are 2"),
        (b"", "there are 0"),
    ],
)
def test_binary_elements_that_cannot_be_read(binary: bytes, fault: str) -> None:
    head = json.dumps(body(data=None, parameters={"binary_data_size": len(binary)})).encode()
    with pytest.raises(ServiceError, match=fault):
        read_query(head + binary, str(len(head)))


def test_faults_are_answered_in_the_protocols_shape(client: TestClient, publish: Publish, monkeypatch: pytest.MonkeyPatch) -> None:
    publish()

    def refused(status: int, **request: Any) -> str:
        answer = client.post("/v2/models/triage/infer", **request)
        assert (answer.status_code, set(answer.json())) == (status, {"error"})
        return str(answer.json()["error"])

    assert "not valid JSON" in refused(400, content=b"{")
    assert "must be strings" in refused(400, json=body(data=[5]))
    assert "the list is empty" in refused(400, json=body(data=[], shape=[0]))
    assert "the body has 2 bytes" in refused(400, content=b"{}", headers={"Inference-Header-Content-Length": "3"})
    assert "GENDISTIL_LIMITS__PREDICT_MAX_CHARS" in refused(400, json=body(data=["card" * 9000]))
    monkeypatch.setattr(get_settings().limits, "max_upload_bytes", 50)
    assert "GENDISTIL_LIMITS__MAX_UPLOAD_BYTES" in refused(413, json=body())


def test_only_some_outputs_in_binary_form(client: TestClient, publish: Publish) -> None:
    publish()
    outputs = [{"name": "score", "parameters": {"binary_data": False}}, {"name": "label"}]
    answer = client.post("/v2/models/triage/infer", json={**body(), "outputs": outputs, "parameters": {"binary_data_output": True}})
    length = int(answer.headers["inference-header-content-length"])
    score, label = json.loads(answer.content[:length])["outputs"]
    assert score["data"] == [pytest.approx(0.9647, abs=1e-3)]
    assert label == {"name": "label", "shape": [1], "datatype": "BYTES", "parameters": {"binary_data_size": 8}}
    assert answer.content[length:] == b"\x04\x00\x00\x00card"
    assert answer.headers["content-type"] == "application/octet-stream"
