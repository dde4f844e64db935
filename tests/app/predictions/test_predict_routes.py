"""POST /predict with tiny real students."""

import subprocess
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from starlette.testclient import TestClient

from app.config import get_settings
from tests.app.calls import refused
from tests.app.predictions.conftest import LABELS, VOTES, onnx_model

Publish = Callable[..., int]


def predict(client: TestClient, **changes: Any) -> Any:
    return client.post("/predict", json={"student": "triage", "inputs": ["my card"], **changes})


def test_texts_are_answered_in_order(client: TestClient, publish: Publish) -> None:
    publish()
    answer = predict(client, inputs=["my card", "the pin", "money money"], top_k=2)
    assert answer.status_code == 200
    body = answer.json()
    assert (body["student"], body["version"]) == ("triage", 1)
    assert [found["label"] for found in body["predictions"]] == ["card", "pin", "money"]
    assert all(found["scores"][0] == {"label": found["label"], "score": found["score"]} for found in body["predictions"])
    assert [len(found["scores"]) for found in body["predictions"]] == [2, 2, 2]


def test_scores_of_all_labels_sum_to_one_best_first(client: TestClient, publish: Publish) -> None:
    publish()
    scores = predict(client, inputs="card card money", top_k=99).json()["predictions"][0]["scores"]
    assert [score["label"] for score in scores] == ["card", "money", "pin"]
    assert sum(score["score"] for score in scores) == pytest.approx(1, abs=1e-12)
    expected = np.exp([8, 4, 0]) / np.exp([8, 4, 0]).sum()
    assert [score["score"] for score in scores] == pytest.approx(expected.tolist())


def test_a_single_text_and_the_default_top_k(client: TestClient, publish: Publish) -> None:
    publish()
    (found,) = predict(client, inputs="pin").json()["predictions"]
    assert [score["label"] for score in found["scores"]] == [found["label"]] == ["pin"]


def test_versions_and_aliases(client: TestClient, publish: Publish) -> None:
    publish()
    publish(model=onnx_model(VOTES[:, ::-1].copy()))
    labels = {}
    for student in ("triage", "triage@latest", "triage:1", "triage:2"):
        body = predict(client, student=student).json()
        labels[student] = (body["student"], body["version"], body["predictions"][0]["label"])
    newest, oldest = ("triage", 2, "pin"), ("triage", 1, "card")
    assert labels == {"triage": newest, "triage@latest": newest, "triage:1": oldest, "triage:2": newest}
    client.put("/students/triage/aliases/latest", json={"version": 1})
    assert predict(client).json()["version"] == 1


def test_a_deleted_version_is_served_no_more(client: TestClient, publish: Publish) -> None:
    publish()
    publish(model=onnx_model(VOTES[:, ::-1].copy()))
    assert predict(client, student="triage:2").json()["predictions"][0]["label"] == "pin"
    assert client.delete("/students/triage/versions/2").status_code == 204
    assert "triage:1" in refused(predict(client, student="triage:2"), 404, "student-not-found")["remedy"]
    assert predict(client).json()["predictions"][0]["label"] == "card"  # `latest` has moved
    assert client.delete("/students/triage").status_code == 204
    refused(predict(client), 404, "student-not-found")
    publish()
    assert predict(client).json()["version"] == 3


def test_an_unknown_student(client: TestClient, publish: Publish) -> None:
    assert "POST /jobs" in refused(predict(client), 404, "student-not-found")["remedy"]
    publish()
    assert "triage" in refused(predict(client, student="triagee"), 404, "student-not-found")["remedy"]
    assert "GET /students" in refused(predict(client, student="zzzzzz"), 404, "student-not-found")["remedy"]
    assert "triage:1" in refused(predict(client, student="triage:7"), 404, "student-not-found")["remedy"]
    assert "triage@latest" in refused(predict(client, student="triage@best"), 404, "student-not-found")["remedy"]
    for name in ("triage:", "triage:1:2", "triage@a:1", "triage:x", "triage:9999999999", "@latest"):
        refused(predict(client, student=name), 422, "invalid-request")
    for name in ("\x00", "Triage", "triage@\x00", "tri age"):
        refused(predict(client, student=name), 404, "student-not-found")


@pytest.mark.parametrize(
    ("changes", "type", "column"),
    [
        ({"inputs": []}, "empty-input", "inputs"),
        ({"inputs": ""}, "empty-input", "inputs"),
        ({"inputs": ["card", " \n"]}, "empty-input", "inputs.1"),
        ({"inputs": None}, "invalid-request", "inputs"),
        ({"inputs": ["card", 5]}, "invalid-request", "inputs.1"),
        ({"inputs": {"text": "card"}}, "invalid-request", "inputs"),
        ({"top_k": 0}, "invalid-request", "top_k"),
        ({"top_k": "many"}, "invalid-request", "top_k"),
        ({"student": ""}, "invalid-request", "student"),
        ({"colour": 1}, "invalid-request", "colour"),
    ],
)
def test_inputs_that_cannot_be_read(client: TestClient, publish: Publish, changes: dict[str, Any], type: str, column: str) -> None:
    publish()
    assert [error["column"] for error in refused(predict(client, **changes), 422, type)["errors"]] == [column]


def test_half_a_surrogate_pair_is_refused(client: TestClient, publish: Publish) -> None:
    publish()
    content = b'{"student": "triage", "inputs": ["\\ud800"]}'
    refused(client.post("/predict", content=content, headers={"content-type": "application/json"}), 422, "invalid-request")


def test_limits_are_named(client: TestClient, publish: Publish, monkeypatch: pytest.MonkeyPatch) -> None:
    publish()
    limits = get_settings().limits
    monkeypatch.setattr(limits, "predict_max_inputs", 2)
    monkeypatch.setattr(limits, "predict_max_chars", 9)
    assert "GENDISTIL_LIMITS__PREDICT_MAX_INPUTS" in refused(predict(client, inputs=["card"] * 3), 422, "batch-too-large")["detail"]
    long = refused(predict(client, inputs=["card", "card card card"]), 422, "text-too-long")
    assert "GENDISTIL_LIMITS__PREDICT_MAX_CHARS" in long["detail"]
    assert long["errors"][0]["column"] == "inputs.1"
    monkeypatch.setattr(limits, "max_upload_bytes", 100)
    assert "GENDISTIL_LIMITS__MAX_UPLOAD_BYTES" in refused(predict(client, inputs="c" * 200), 413, "upload-too-large")["detail"]
    assert predict(client, inputs=["card"] * 2).status_code == 200


def test_a_broken_student_does_not_harm_the_others(client: TestClient, publish: Publish) -> None:
    publish()
    publish(name="broken", model=b"this is no ONNX file")
    assert "broken:1" in refused(predict(client, student="broken"), 503, "student-broken")["detail"]
    assert predict(client).status_code == 200


def test_a_prediction_imports_no_training_library(publish: Publish) -> None:
    publish()
    program = (
        "import sys; from starlette.testclient import TestClient; from app.main import app\n"
        "answer = TestClient(app).post('/predict', json={'student': 'triage', 'inputs': 'my card'})\n"
        "assert answer.json()['predictions'][0]['label'] == 'card', answer.text\n"
        "found = {name.partition('.')[0] for name in sys.modules} & {'torch', 'transformers', 'workers', 'sklearn'}\n"
        "assert not found, found"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr


def test_labels_come_from_the_students_own_manifest(client: TestClient, publish: Publish) -> None:
    publish(labels=[label.upper() for label in LABELS])
    assert predict(client).json()["predictions"][0]["label"] == "CARD"
