from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from app.config import Settings, get_settings
from tests.app.calls import refused
from tests.app.datasets.samples import make_csv, make_objects, make_rows, with_rows

EXAMPLES = Path(__file__).parents[3] / "examples"
GOOD = make_csv(make_rows())
FEW = make_csv(make_rows(per_class=4))
FORM = {"Content-Type": "multipart/form-data; boundary=cut"}
JSON = {"Content-Type": "application/json"}
PART = b'--cut\r\nContent-Disposition: form-data; name="file"; filename="rows.csv"\r\n\r\n'
DEEP = b'{"rows":' + b"[" * 100_000


def test_the_bundled_example(api: TestClient) -> None:
    with (EXAMPLES / "banking10.csv").open("rb") as rows, (EXAMPLES / "banking10_test.csv").open("rb") as test:
        response = api.post("/datasets", files={"file": rows, "test_file": test})
    assert response.status_code == 201
    body = response.json()
    assert (body["rows"], body["test_rows"], body["warnings"]) == (300, 400, [])
    assert len(body["labels"]) == 10
    assert set(body["labels"].values()) == {30}
    assert response.headers["Location"] == f"/datasets/{body['id']}"
    assert api.get(response.headers["Location"]).json() == body


def test_every_way_to_send_the_same_rows_gives_the_same_dataset(api: TestClient) -> None:
    other_names = make_csv(make_rows(), "words,topic")
    columns = {"text_column": "words", "label_column": "topic"}
    answers = [
        api.post("/datasets", files={"file": ("rows.csv", GOOD)}),
        api.post("/datasets", files={"file": ("rows.csv", other_names)}, data=columns),
        api.post("/datasets", content=GOOD, headers={"Content-Type": "text/csv"}),
        api.post("/datasets", content=other_names, headers={"Content-Type": "text/csv; charset=utf-8"}, params=columns),
        api.post("/datasets", content=GOOD),
        api.post("/datasets", json={"rows": make_objects(make_rows())}),
        api.post("/datasets", json={"rows": make_objects(make_rows()), "test": None, "text_column": "text"}),
        api.post("/datasets", json=make_objects(make_rows())),
    ]
    assert [answer.status_code for answer in answers] == [201] * len(answers)
    assert len({answer.json()["id"] for answer in answers}) == 1
    assert len(api.get("/datasets").json()["items"]) == 1


def test_test_rows_inline(api: TestClient) -> None:
    body = {"rows": make_objects(make_rows()), "test": [{"text": "an unseen text", "label": "delivery"}]}
    assert api.post("/datasets", json=body).json()["test_rows"] == 1


def test_an_empty_file_input_of_a_browser_is_no_test_file(api: TestClient) -> None:
    empty = b'\r\n--cut\r\nContent-Disposition: form-data; name="test_file"; filename=""\r\n\r\n\r\n--cut--\r\n'
    response = api.post("/datasets", content=PART + GOOD + empty, headers=FORM)
    assert (response.status_code, response.json()["test_rows"]) == (201, 0)


def test_warnings_reach_the_caller(api: TestClient) -> None:
    rows = make_rows()
    response = api.post("/datasets", content=make_csv(with_rows(rows, (rows[0].text, rows[0].label))))
    assert response.status_code == 201
    assert response.json()["warnings"] == ["1 duplicate row was dropped: row 13."]


@pytest.mark.parametrize(
    ("request_parts", "status", "kind"),
    [
        ({"files": {"file": ("rows.csv", b"text,label\ncaf\xe9,a\n")}}, 400, "not-utf8"),
        ({"files": {"file": ("rows.csv", b"text,label\nno label\n")}}, 400, "broken-rows"),
        ({"files": {"file": ("rows.csv", b"words,topic\nx,a\n")}}, 422, "missing-columns"),
        ({"files": {"file": ("rows.csv", b"")}}, 422, "empty-file"),
        ({"files": {"file": ("rows.csv", FEW)}}, 422, "too-few-rows"),
        ({"files": {"file": ("rows.csv", GOOD + b",delivery\n")}}, 422, "invalid-rows"),
        ({"files": {"file": ("rows.csv", GOOD + b"x,Delivery\n")}}, 422, "similar-labels"),
        ({"files": {"file": ("rows.csv", GOOD), "test_file": ("test.csv", b"text,label\nx,refund\n")}}, 422, "unknown-test-label"),
        ({"files": {"file": ("rows.csv", GOOD), "test_file": ("test.csv", b"text,label\n")}}, 422, "empty-file"),
        ({"files": {"file": ("rows.csv", GOOD)}, "data": {"labels": "topic"}}, 422, "invalid-request"),
        ({"files": {"rows": ("rows.csv", GOOD)}}, 422, "invalid-request"),
        ({"files": {"test_file": ("rows.csv", GOOD)}}, 422, "invalid-request"),
        ({"files": [("file", ("rows.csv", GOOD)), ("file", ("more.csv", GOOD))]}, 422, "invalid-request"),
        ({"files": {"file": (None, GOOD)}}, 422, "invalid-request"),
        ({"data": {"file": "text,label"}}, 415, "unsupported-format"),
        ({"content": PART + GOOD, "headers": FORM}, 400, "malformed-multipart"),
        ({"content": b"no boundary here", "headers": FORM}, 400, "malformed-multipart"),
        ({"content": GOOD, "headers": {"Content-Type": "multipart/form-data"}}, 400, "malformed-multipart"),
        ({"content": b"--cut\r\nContent-Disposition: form-data\r\n\r\nx\r\n--cut--", "headers": FORM}, 400, "malformed-multipart"),
        (
            {
                "content": b'--cut\r\nContent-Disposition: form-data; name="x"\r\n\r\n\xff\r\n--cut--\r\n',
                "headers": {"Content-Type": "multipart/form-data; boundary=cut; charset=undefined"},
            },
            400,
            "malformed-multipart",
        ),
        ({"content": b"", "headers": FORM}, 400, "malformed-multipart"),
        ({"content": b""}, 422, "empty-file"),
        ({"content": b"PK\x03\x04"}, 415, "unsupported-format"),
        ({"content": DEEP, "headers": JSON}, 400, "malformed-json"),
        ({"content": b"{", "headers": JSON}, 400, "malformed-json"),
        ({"content": b'"caf\xe9"', "headers": JSON}, 400, "not-utf8"),
        ({"json": 5}, 422, "invalid-request"),
        ({"json": {}}, 422, "invalid-request"),
        ({"json": {"rows": "x"}}, 422, "invalid-request"),
        ({"json": {"rows": []}}, 422, "empty-file"),
        ({"json": {"rows": [], "names": 1}}, 422, "invalid-request"),
        ({"json": {"rows": make_objects(make_rows()), "label_column": 3}}, 422, "invalid-request"),
        ({"content": rb'{"rows": [1], "label_column": "\ud800"}', "headers": JSON}, 422, "invalid-column-name"),
        ({"json": {"rows": [5]}}, 400, "broken-rows"),
        ({"content": rb'{"rows": [{"text": "\ud800", "label": "\ud800"}]}', "headers": JSON}, 422, "invalid-rows"),
        ({"content": rb'{"\ud800": 1}', "headers": JSON}, 422, "invalid-request"),
    ],
)
def test_a_bad_body_is_refused_with_a_remedy_and_leaves_nothing_behind(
    api: TestClient, stored: Callable[[], list[str]], request_parts: dict[str, Any], status: int, kind: str
) -> None:
    refused(api.post("/datasets", **request_parts), status, kind)
    assert api.get("/datasets").json()["items"] == []
    assert stored() == []
    assert api.post("/datasets", content=GOOD).status_code == 201


@pytest.mark.parametrize("declared", [True, False])
@pytest.mark.parametrize("form", [True, False])
def test_a_body_over_the_limit(api: TestClient, service_env: Settings, stored: Callable[[], list[str]], declared: bool, form: bool) -> None:
    service_env.limits.max_upload_bytes = 500
    content = PART + GOOD + b"\r\n--cut--\r\n" if form else GOOD
    headers = FORM if form else {"Content-Type": "text/csv"}
    assert len(content) > 500
    # A generator is sent in chunks, without a Content-Length.
    response = api.post("/datasets", content=content if declared else iter([content[:400], content[400:]]), headers=headers)
    assert response.status_code == 413
    assert response.json()["type"] == "urn:gendistil:upload-too-large"
    assert "the limit is 500 (setting GENDISTIL_LIMITS__MAX_UPLOAD_BYTES)" in response.json()["detail"]
    assert stored() == []


def test_limits_are_those_of_the_settings(api: TestClient, clean_settings: pytest.MonkeyPatch) -> None:
    clean_settings.setenv("GENDISTIL_LIMITS__MAX_ROWS", "11")
    get_settings.cache_clear()
    problem = api.post("/datasets", content=GOOD).json()
    assert problem["type"] == "urn:gendistil:too-many-rows"
    assert "the limit is 11 (setting GENDISTIL_LIMITS__MAX_ROWS)" in problem["detail"]


def test_pages(api: TestClient) -> None:
    ids = [api.post("/datasets", content=make_csv(make_rows(labels=("a", f"b{number}")))).json()["id"] for number in range(3)]
    first = api.get("/datasets", params={"limit": 2}).json()
    assert [item["id"] for item in first["items"]] == ids[:0:-1]
    assert first["has_more"] is True
    second = api.get("/datasets", params={"limit": 2, "after": first["next_after"]}).json()
    assert [item["id"] for item in second["items"]] == ids[:1]
    assert second["has_more"] is False
    assert api.get("/datasets", params={"limit": 101}).status_code == 422
    assert api.get("/datasets", params={"after": "ds_nowhere"}).status_code == 422


def test_an_unknown_dataset(api: TestClient) -> None:
    response = api.get("/datasets/ds_nowhere")
    assert response.status_code == 404
    assert response.json()["type"] == "urn:gendistil:dataset-not-found"


def test_openapi_describes_the_bodies_and_the_columns(api: TestClient) -> None:
    operation = api.get("/openapi.json").json()["paths"]["/datasets"]["post"]
    bodies = operation["requestBody"]["content"]
    assert set(bodies) == {"multipart/form-data", "application/json", "text/csv", "application/x-ndjson"}
    assert set(bodies["multipart/form-data"]["schema"]["properties"]) == {"file", "test_file", "text_column", "label_column"}
    assert {parameter["name"] for parameter in operation["parameters"]} == {"text_column", "label_column", "idempotency-key"}
    assert {"201", "400", "413", "415", "422"} <= set(operation["responses"])
