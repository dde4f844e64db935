"""Answers to requests that reach no route, or none of its parts."""

import pytest
from starlette.testclient import TestClient

from tests.app.calls import refused


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("PATCH", "/jobs", "GET, POST"),
        ("POST", "/students/triage/shadow", "GET, PUT, DELETE"),
        ("OPTIONS", "/students/triage/aliases/latest", "PUT, DELETE"),
        ("PUT", "/predict", "POST"),
        ("POST", "/openapi.json", "GET, HEAD"),
        # A student may be called `import`.
        ("PUT", "/students/import", "GET, POST, DELETE"),
    ],
)
def test_a_method_that_a_path_does_not_have(client: TestClient, method: str, path: str, allowed: str) -> None:
    answer = client.request(method, path)
    refused(answer, 405, "method-not-allowed")
    assert answer.headers["allow"] == allowed


@pytest.mark.parametrize("body", [b"\xff", b"[" * 100_000], ids=["not UTF-8", "nested"])
def test_a_body_that_cannot_be_read(client: TestClient, body: bytes) -> None:
    answer = client.post("/students/triage/aliases/latest/rollback", content=body, headers={"content-type": "application/json"})
    refused(answer, 400, "unreadable-body")
