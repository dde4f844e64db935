"""Every call of the OpenAPI document has an example of what it takes and of what it answers, and each is what its schema says."""

import json
from typing import Any

import jsonschema_rs
import pytest

from app.main import create_app

Document = dict[str, Any]
# Bytes that no text can show.
_BYTES = {"application/zip", "application/octet-stream"}


@pytest.fixture(scope="module")
def document() -> Document:
    return create_app().openapi()


def contents(document: Document) -> list[tuple[str, str, dict[str, Any]]]:
    """Call, media type and content of each body, and of each call's first answer that is no error."""
    found = []
    for address, operations in document["paths"].items():
        for method, operation in operations.items():
            call = f"{method.upper()} {address}"
            status = min(status for status in operation["responses"] if status.startswith("2"))
            for part in (operation.get("requestBody", {}), operation["responses"][status]):
                found += [(call, media_type, content) for media_type, content in part.get("content", {}).items()]
    return found


def examples(content: dict[str, Any]) -> list[Any]:
    return [content["example"]] if "example" in content else [example["value"] for example in content.get("examples", {}).values()]


def test_every_body_and_every_answer_has_an_example(document: Document) -> None:
    shown = contents(document)
    assert len(shown) > 60
    assert [f"{call} {media_type}" for call, media_type, content in shown if media_type not in _BYTES and not examples(content)] == []


def test_examples_are_what_their_schemas_say(document: Document) -> None:
    definitions = {"components": document["components"]}
    for call, media_type, content in contents(document):
        for example in examples(content):
            schema = {**_openapi_types(content.get("schema", {})), **definitions}
            faults = [f"{'.'.join(map(str, error.instance_path))}: {error.message}" for error in jsonschema_rs.iter_errors(schema, example)]
            assert faults == [], f"{call} {media_type}"
            if media_type == "application/x-ndjson":
                assert all(isinstance(json.loads(line), dict) for line in example.splitlines())


def test_answers_leave_out_nothing(document: Document) -> None:
    """A field that came later is missed in the example, though the schema has a default for it."""
    named = document["components"]["schemas"]
    for call, _, content in contents(document):
        name = content.get("schema", {}).get("$ref", "").rpartition("/")[2]
        if name.endswith(("Out", "View", "Page", "Report")):
            for example in examples(content):
                assert set(named[name]["properties"]) == set(example), call


def _openapi_types(schema: dict[str, Any]) -> dict[str, Any]:
    """A file of a form stands in the example as its text."""
    shown: dict[str, Any] = json.loads(json.dumps(schema).replace('"format": "binary"', '"format": "text"'))
    return shown
