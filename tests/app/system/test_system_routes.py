"""Health, readiness, metrics, catalogues, and what every answer has in common."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from app.config import Settings, get_settings
from app.contracts.presets import PRESETS
from app.contracts.students import STUDENTS
from app.database import get_engine
from app.main import create_app
from tests.conftest import clear_caches
from tests.servers import free_port

ROWS = [{"text": f"{label} text number {number}", "label": label} for label in ("a", "b") for number in range(6)]


def metric(client: TestClient, sample: str) -> float:
    """The value of a sample, written as in the exposition text."""
    text = client.get("/metrics").text
    found = [line for line in text.splitlines() if line.startswith(f"{sample} ")]
    assert len(found) == 1, text
    return float(found[0].rpartition(" ")[2])


def test_alive_and_ready(client: TestClient) -> None:
    assert client.get("/healthz").json() == {"status": "ok"}
    answer = client.get("/readyz")
    assert answer.status_code == 200
    assert answer.json() == {"ready": True, "checks": {name: {"ok": True, "error": None} for name in ("database", "redis", "storage")}}


@pytest.mark.parametrize("broken", ["database", "redis", "storage"])
def test_not_ready_names_what_is_away(service_env: Settings, clean_settings: pytest.MonkeyPatch, tmp_path: Path, broken: str) -> None:
    if broken == "redis":
        clean_settings.setenv("REDIS_URL", f"redis://:secret@127.0.0.1:{free_port()}/0")
    elif broken == "database":
        clean_settings.setenv("DATABASE_URL", f"postgresql://user:secret@127.0.0.1:{free_port()}/none")
    else:
        (tmp_path / "file").write_text("")
        clean_settings.setenv("STORAGE_URL", f"file://{tmp_path / 'file'}/blobs")
    clear_caches()
    with TestClient(create_app()) as client:
        answer = client.get("/readyz")
        assert client.get("/healthz").status_code == 200
    assert answer.status_code == 503
    assert {name: check["ok"] for name, check in answer.json()["checks"].items()} == {
        name: name != broken for name in ("database", "redis", "storage")
    }
    assert "secret" not in answer.text


def test_a_database_that_is_away_is_a_problem_and_no_crash(service_env: Settings, clean_settings: pytest.MonkeyPatch) -> None:
    clean_settings.setenv("DATABASE_URL", f"postgresql://user:secret@127.0.0.1:{free_port()}/none")
    clear_caches()
    with TestClient(create_app()) as client:
        for answer in (client.get("/jobs"), client.post("/predict", json={"student": "triage", "inputs": "card"})):
            assert answer.status_code == 503
            assert answer.headers["content-type"] == "application/problem+json"
            assert answer.json()["type"] == "urn:gendistil:database-unavailable"
            assert "secret" not in answer.text
        assert metric(client, "gendistil_database_up") == 0


def test_what_nobody_foresaw_is_a_problem_with_the_requests_id(service_env: Settings) -> None:
    with TestClient(create_app(), raise_server_exceptions=False) as client:
        engine = get_engine()
        with engine.begin() as connection:
            connection.exec_driver_sql(
                "INSERT INTO datasets (id, content_hash, rows, test_rows, label_counts, mean_chars, warnings, created_at)"
                " VALUES ('ds_1', 'h', 1, 0, 'no json', 1.0, '[]', '2030-01-01 00:00:00')"
            )
        answer = client.get("/datasets/ds_1", headers={"x-request-id": "abc-1"})
    assert answer.status_code == 500
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["x-request-id"] == "abc-1"
    assert "abc-1" in answer.json()["detail"]
    assert "no json" not in answer.text


def test_every_answer_has_a_request_id(client: TestClient) -> None:
    assert client.get("/healthz", headers={"x-request-id": "abc-1"}).headers["x-request-id"] == "abc-1"
    made = [
        client.get("/healthz", headers=headers).headers["x-request-id"]
        for headers in ({}, {"x-request-id": "a b"}, {"x-request-id": "a" * 200})
    ]
    assert all(re.fullmatch("[0-9a-f]{32}", found) for found in made)
    assert len(set(made)) == 3
    assert client.get("/nowhere").headers["x-request-id"]


def test_unknown_routes_are_problems(client: TestClient) -> None:
    for answer, status in ((client.get("/nowhere"), 404), (client.delete("/jobs"), 405)):
        assert answer.status_code == status
        assert answer.headers["content-type"] == "application/problem+json"


def test_requests_are_counted_by_route_template(client: TestClient) -> None:
    for job_id in ("job_1", "job_2"):
        client.get(f"/jobs/{job_id}")
    client.get("/nowhere")
    client.get("/elsewhere")
    assert metric(client, 'gendistil_http_requests_total{method="GET",route="/jobs/{job_id}",status="404"}') == 2
    assert metric(client, 'gendistil_http_request_seconds_count{method="GET",route="/jobs/{job_id}"}') == 2
    assert metric(client, 'gendistil_http_requests_total{method="unmatched",route="unmatched",status="404"}') == 2


def test_queue_depth(client: TestClient) -> None:
    assert metric(client, 'gendistil_jobs{status="queued"}') == 0
    assert client.post("/jobs", json={"name": "triage", "dataset": {"rows": ROWS}}).status_code == 202
    assert metric(client, 'gendistil_jobs{status="queued"}') == 1
    assert metric(client, 'gendistil_stage_runs{stage="finetune_teacher",status="queued"}') == 1
    assert metric(client, 'gendistil_stage_runs{stage="label",status="pending"}') == 1
    assert metric(client, "gendistil_database_up") == 1


def test_presets_are_full_specs(client: TestClient) -> None:
    body = client.get("/presets").json()
    assert {preset["name"]: preset["spec"] for preset in body["presets"]} == {
        name: spec.model_dump(mode="json") for name, spec in PRESETS.items()
    }
    assert [preset["name"] for preset in body["presets"] if preset["default"]] == [get_settings().default_preset]
    assert all(preset["summary"] for preset in body["presets"])
    assert [student["name"] for student in body["students"]] == list(STUDENTS)
    assert {(model["reference"], model["role"]) for model in body["models"]} >= {
        ("embedded:minilm-l6", "teacher"),
        ("embedded:smollm2-135m", "generator"),
    }


def test_the_document_describes_bodies_and_problems(client: TestClient) -> None:
    document = client.get("/openapi.json").json()
    job = document["paths"]["/jobs"]["post"]
    assert set(job["requestBody"]["content"]) == {"application/json", "multipart/form-data"}
    assert {"202", "404", "409", "422"} <= set(job["responses"])
    assert "HTTPValidationError" not in document["components"]["schemas"]
    for path, operations in document["paths"].items():
        for operation in operations.values():
            assert all("description" in response for response in operation["responses"].values())
            problem = operation["responses"]["422"]["content"]
            is_foreign = path.startswith(("/v1", "/v2", "/hf"))
            assert "Problem" in str(problem) or (is_foreign and re.search("ErrorOut|ErrorResponse", str(problem)))
    assert "text/event-stream" in document["paths"]["/jobs/{job_id}/events"]["get"]["responses"]["200"]["content"]
    # Every reference leads somewhere.
    schemas = document["components"]["schemas"]
    assert set(re.findall(r"#/components/schemas/([\w.]+)", str(document))) <= set(schemas)
    assert "$defs" not in str(document)


def test_the_api_imports_no_training_library() -> None:
    program = (
        "import app.main, sys\n"
        "found = {name.partition('.')[0] for name in sys.modules} & {'torch', 'transformers', 'workers'}\n"
        "assert not found, found"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
