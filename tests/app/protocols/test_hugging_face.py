"""The Hugging Face shape: with `huggingface_hub`'s client against a real server, and by hand."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest
from starlette.testclient import TestClient

Publish = Callable[..., int]

PROGRAM = """
import json, sys
from huggingface_hub import InferenceClient
from huggingface_hub.errors import HfHubHTTPError
url = sys.argv[1]
client = InferenceClient(model=f"{url}/hf/triage")
found = {"all": client.text_classification("my card"), "two": client.text_classification("my card", top_k=2),
         "version": client.text_classification("the pin", model=f"{url}/hf/triage:1", function_to_apply="softmax")}
errors = []
for model, options in ((f"{url}/hf/triages", {}), (f"{url}/hf/triage", {"function_to_apply": "sigmoid"})):
    try:
        client.text_classification("my card", model=model, **options)
    except HfHubHTTPError as error:
        errors.append([error.response.status_code, str(error)])
print(json.dumps({"found": {name: [[e.label, e.score] for e in elements] for name, elements in found.items()}, "errors": errors}))
"""


def test_the_client_of_the_hub(publish: Publish, service_url: str, client: TestClient) -> None:
    publish()
    # A process of its own: tests keep this one's hub client from the network altogether.
    environment = {**os.environ, "HF_HUB_OFFLINE": "0", "NO_PROXY": "127.0.0.1"}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, service_url], env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    expected = client.post("/predict", json={"student": "triage", "inputs": "my card", "top_k": 3}).json()["predictions"][0]["scores"]
    assert answer["found"]["all"] == [[score["label"], score["score"]] for score in expected]
    assert answer["found"]["two"] == answer["found"]["all"][:2]
    assert answer["found"]["version"][0][0] == "pin"
    (unknown, message), (refused, _) = answer["errors"]
    assert (unknown, refused) == (404, 422)
    assert "Close to it: triage" in message


def ask(client: TestClient, content: Any) -> Any:
    return client.post("/hf/triage", json=content)


def test_two_texts_are_a_batch_of_two(client: TestClient, publish: Publish) -> None:
    publish()
    first, second = ask(client, {"inputs": ["my card", "the pin"], "parameters": {"top_k": 1}}).json()
    assert ([score["label"] for score in first], [score["label"] for score in second]) == (["card"], ["pin"])


def test_one_text_is_a_batch_of_one_and_all_labels_come(client: TestClient, publish: Publish) -> None:
    publish()
    (scores,) = ask(client, {"inputs": "card card money", "options": {"wait_for_model": True}}).json()
    assert [score["label"] for score in scores] == ["card", "money", "pin"]
    assert sum(score["score"] for score in scores) == pytest.approx(1)


def test_what_cannot_be_used(client: TestClient, publish: Publish) -> None:
    publish()
    faults: list[tuple[Any, str]] = [
        ({}, "inputs"),
        ({"inputs": {"text": "a", "text_pair": "b"}}, "inputs"),
        ({"inputs": [["a", "b"]]}, "inputs"),
        ({"inputs": ["card", ""]}, "inputs.1: the text is empty"),
        ({"inputs": "card", "parameters": {"top_k": 0}}, "parameters.top_k"),
        ({"inputs": "card", "parameters": {"function_to_apply": "none"}}, "parameters.function_to_apply"),
        ({"inputs": "card", "raw_scores": True}, "raw_scores"),
        ([], "body"),
    ]
    for content, fault in faults:
        answer = ask(client, content)
        assert (answer.status_code, set(answer.json())) == (422, {"error"})
        assert fault in answer.json()["error"]


def test_a_body_that_is_no_json_and_a_broken_student(client: TestClient, publish: Publish) -> None:
    publish(model=b"this is no ONNX file")
    answer = client.post("/hf/triage", content=b"{")
    assert (answer.status_code, set(answer.json())) == (400, {"error"})
    assert ask(client, {"inputs": "card"}).status_code == 503
