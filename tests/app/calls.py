"""What callers send to the API, and how the tests look at what comes back."""

from typing import Any

from fastapi import FastAPI
from starlette.testclient import TestClient

from app.database import transaction
from app.predictions.predictor import Predictor

ROWS = [{"text": f"{label} text number {number}", "label": label} for label in ("lost card", "top up") for number in range(6)]
OTHER_ROWS = [{"text": f"another {label} text {number}", "label": label} for label in ("a", "b") for number in range(6)]
BODY: dict[str, Any] = {"name": "triage", "dataset": {"rows": ROWS}}


def post(api: TestClient, **changes: Any) -> Any:
    """The answer to POST /jobs; `changes`: fields of the body."""
    return api.post("/jobs", json={**BODY, **changes})


def accepted(api: TestClient, **changes: Any) -> dict[str, Any]:
    """The job that POST /jobs makes."""
    answer = post(api, **changes)
    assert answer.status_code == 202, answer.text
    job: dict[str, Any] = answer.json()
    return job


def refused(answer: Any, status: int, type: str) -> dict[str, Any]:
    """The problem that a request was refused with, which always says how to mend it."""
    assert (answer.status_code, answer.json()["type"]) == (status, f"urn:gendistil:{type}"), answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    problem: dict[str, Any] = answer.json()
    assert problem["remedy"]
    return problem


def count(table: Any) -> int:
    """Rows of the table, in the service's own database."""
    with transaction() as session:
        found: int = session.query(table).count()
        return found


def predictor_of(client: TestClient) -> Predictor:
    """The one with which the client's own API answers."""
    assert isinstance(client.app, FastAPI)
    found: Predictor = client.app.state.predictor
    return found
