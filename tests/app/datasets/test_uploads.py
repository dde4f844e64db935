from typing import Any

import pytest
from fastapi import FastAPI, Request
from starlette.testclient import TestClient

from app.config import Limits
from app.datasets.uploads import read_json, read_upload
from app.errors import install_handlers
from tests.app.datasets.samples import make_csv, make_rows

GOOD = make_csv(make_rows())


@pytest.fixture
def client() -> TestClient:
    """A call that takes rows and other fields, as `POST /jobs` does."""
    app = FastAPI()
    install_handlers(app)
    limits = Limits(max_upload_bytes=5_000_000)

    @app.post("/form")
    async def form(request: Request) -> dict[str, Any]:
        upload = await read_upload(request, limits, require_file=False)
        return {"rows": len(upload.rows), "test": len(upload.test), "fields": upload.fields}

    @app.post("/json")
    async def json(request: Request) -> dict[str, Any]:
        return {"body": await read_json(request, limits)}

    return TestClient(app)


def test_other_fields_are_handed_on_and_column_names_are_used(client: TestClient) -> None:
    spec = '{"generate": {"texts": 5}, "x": "' + "y" * 2_000_000 + '"}'
    fields = {"name": "triage é", "spec": spec, "text_column": "words", "label_column": "topic"}
    files = {"file": ("rows.csv", make_csv(make_rows(), "words,topic")), "test_file": ("test.csv", make_csv(make_rows(), "words,topic"))}
    answer = client.post("/form", data=fields, files=files).json()
    assert answer == {"rows": 12, "test": 12, "fields": {"name": "triage é", "spec": spec}}


def test_a_form_may_do_without_a_file(client: TestClient) -> None:
    answer = client.post("/form", files={"dataset": (None, "ds_1")})
    assert answer.json() == {"rows": 0, "test": 0, "fields": {"dataset": "ds_1"}}


def test_a_test_file_alone_is_refused(client: TestClient) -> None:
    response = client.post("/form", files={"test_file": ("rows.csv", GOOD)})
    assert response.status_code == 422
    assert response.json()["errors"][0]["column"] == "file"


def test_too_many_fields(client: TestClient) -> None:
    response = client.post("/form", files=[(f"field{number}", (None, "x")) for number in range(51)])
    assert (response.status_code, response.json()["type"]) == (400, "urn:gendistil:malformed-multipart")


def test_read_json(client: TestClient) -> None:
    assert client.post("/json", content=b'\xef\xbb\xbf{"a": [1]}').json() == {"body": {"a": [1]}}
    for content, kind in ((b"", "malformed-json"), (b"[" * 100_000, "malformed-json"), (b"\xff", "not-utf8")):
        response = client.post("/json", content=content)
        assert (response.status_code, response.json()["type"]) == (400, f"urn:gendistil:{kind}")
    assert client.post("/json", content=b" " * 5_000_001).status_code == 413
