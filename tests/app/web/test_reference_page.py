"""`/docs`: every call of the API on a page of the service's own."""

import re
from collections.abc import Iterator
from typing import Any

import pytest
from starlette.testclient import TestClient

from app.web.reference import Operation, groups
from app.web.reference_calls import commands
from app.web.reference_fields import Field, Fields, Schemas
from tests.app.web.pages import Page, get


@pytest.fixture
def page(client: TestClient) -> Page:
    return get(client, "/docs")


@pytest.fixture
def document(client: TestClient) -> dict[str, Any]:
    found: dict[str, Any] = client.get("/openapi.json").json()
    return found


def operations(document: dict[str, Any]) -> list[Operation]:
    return [operation for group in groups(document) for operation in group.operations]


def fields_of(objects: list[Fields]) -> Iterator[Field]:
    for found in objects:
        for field in found.fields:
            yield field
            yield from fields_of(list(field.inside))


def test_every_call_stands_on_the_page_under_an_anchor_of_its_own(page: Page, document: dict[str, Any]) -> None:
    ids = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    links = page.links()
    for path, item in document["paths"].items():
        for method in item:
            anchor = "-".join([method, *path.strip("/").replace("{", "").replace("}", "").split("/")])
            assert anchor in ids
            assert f"#{anchor}" in links
            assert path in page.text
    assert {link[1:] for link in links if link.startswith("#")} <= set(ids)
    assert set(document["webhooks"]) <= set(page.text.split())


def test_a_call_tells_its_parameters_body_answers_and_errors(page: Page) -> None:
    assert "Classifies one text or several with a published student" in page.text
    text = page.text.replace(" ,", ",")
    assert "student required string, at least 1 character, at most 200 characters name, name@alias or name:version" in text
    assert "There is no such student, version or alias." in page.text
    assert "#error-Problem" in page.links()
    assert """curl http://localhost:8000/predict \\ --json '{"student": "triage",""" in page.text


def test_every_call_can_be_copied_and_holds_no_placeholder(document: dict[str, Any]) -> None:
    for operation in operations({**document, "webhooks": {}}):
        assert operation.commands, operation.id
        for _, command in operation.commands:
            address = re.search(r"http://localhost:8000(\S*)", command)
            assert address, command
            assert not re.search(r"[{}A-Z]", address[1]), command


def test_a_bare_file_says_beside_it_what_a_form_says_inside(document: dict[str, Any]) -> None:
    found = commands("POST", "/predictions", document["paths"]["/predictions"]["post"])
    assert "'http://localhost:8000/predictions?student=triage'" in found["text/csv"]
    assert "-F student=triage" in found["multipart/form-data"]


def test_the_page_is_made_once_and_stands_in_the_navigation(client: TestClient, page: Page) -> None:
    assert client.get("/docs").content == client.get("/docs").content
    assert {"/", "/docs", "/openapi.json"} <= set(page.links())
    assert page.all("a", href="/docs", aria_current="page")


def test_the_pages_that_load_scripts_of_another_host_are_gone(client: TestClient) -> None:
    for path in ("/redoc", "/docs/oauth2-redirect"):
        assert client.get(path).status_code == 404


def test_an_object_inside_itself_is_told_once() -> None:
    tree = {"properties": {"name": {"type": "string"}, "parts": {"type": "array", "items": {"$ref": "#/components/schemas/Tree"}}}}
    described = Schemas({"Tree": tree}).describe({"anyOf": [{"$ref": "#/components/schemas/Tree"}, {"type": "null"}]})
    assert described.type == "Tree or null"
    (found,) = described.objects
    assert [(field.name, field.type) for field in found.fields] == [("name", "string"), ("parts", "list of Tree")]
    assert [(inside.title, inside.repeated) for inside in found.fields[1].inside] == [("Tree", True)]


def test_what_a_value_may_be_is_said_in_words() -> None:
    schemas = Schemas({"Kind": {"type": "string", "enum": ["a", "b"]}})
    assert schemas.type_of({"$ref": "#/components/schemas/Kind"}) == "string"
    assert schemas.notes({"$ref": "#/components/schemas/Kind", "default": "a"}) == ["one of `a`, `b`", "default `a`"]
    assert schemas.notes({"anyOf": [{"type": "integer", "exclusiveMinimum": 0, "maximum": 2.5}, {"type": "null"}], "default": None}) == [
        "more than 0",
        "at most 2.5",
    ]
    assert schemas.type_of({"type": "object", "additionalProperties": {"type": "number"}}) == "object of number"
    assert schemas.type_of({"type": "string", "format": "binary"}) == "file"


def test_nothing_of_a_schema_is_lost(document: dict[str, Any]) -> None:
    named = document["components"]["schemas"]
    for name, schema in named.items():
        if "properties" in schema:
            (found, *_) = Schemas(named).describe({"$ref": f"#/components/schemas/{name}"}).objects
            assert [field.name for field in found.fields] == list(schema["properties"])
            assert {field.name for field in found.fields if field.required} == set(schema.get("required", ()))
