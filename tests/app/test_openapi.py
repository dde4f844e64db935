"""The document of our API says what is sent and what is answered."""

from typing import Any

import pytest
from starlette.testclient import TestClient

from app.config import Settings
from app.main import create_app
from tests.conftest import clear_caches

Document = dict[str, Any]


@pytest.fixture
def document(client: TestClient) -> Document:
    found: Document = client.get("/openapi.json").json()
    return found


def parameters(document: Document, method: str, path: str) -> dict[str, Document]:
    return {parameter["name"]: parameter["schema"] for parameter in document["paths"][path][method]["parameters"]}


def test_a_parameter_is_left_out_and_never_null(document: Document) -> None:
    found = [
        (path, name, schema)
        for path, operations in document["paths"].items()
        for method, operation in operations.items()
        if "parameters" in operation
        for name, schema in parameters(document, method, path).items()
    ]
    assert [entry for entry in found if {"type": "null"} in entry[2].get("anyOf", ())] == []
    last_event = parameters(document, "get", "/jobs/{job_id}/events")["last-event-id"]
    assert (last_event["type"], last_event["minimum"]) == ("integer", 0)
    assert last_event["description"]


def test_the_largest_page_is_that_of_the_settings(service_env: Settings, clean_settings: pytest.MonkeyPatch) -> None:
    clean_settings.setenv("GENDISTIL_LIMITS__PAGE_SIZE", "7")
    clear_caches()
    app = create_app()
    assert parameters(app.openapi(), "get", "/jobs")["limit"]["maximum"] == 7
    with TestClient(app) as client:
        assert [client.get("/jobs", params={"limit": limit}).status_code for limit in (7, 8)] == [200, 422]


def test_a_problem_is_of_one_media_type(document: Document) -> None:
    for path in ("/datasets", "/jobs", "/students", "/predict"):
        for operation in document["paths"][path].values():
            assert list(operation["responses"]["422"]["content"]) == ["application/problem+json"]


def test_every_route_may_find_the_database_away(document: Document) -> None:
    for operations in document["paths"].values():
        assert all("503" in operation["responses"] for operation in operations.values())


def test_a_models_version_stands_in_the_path_alone(document: Document) -> None:
    assert list(parameters(document, "get", "/v2/models/{model}")) == ["model"]
    assert list(parameters(document, "get", "/v2/models/{model}/versions/{model_version}")) == ["model", "model_version"]
