"""`/docs`: every call of the API, as its OpenAPI document tells it. Made here, so that the page asks no other host for anything."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from fastapi import Request, Response
from fastapi.responses import HTMLResponse

from app.web.reference_calls import BASE, commands
from app.web.reference_fields import Described, Field, Fields, Schemas, reference
from app.web.rendering import HEADERS, page, page_router

_TITLES = {"openai": "OpenAI", "protocols": "Other protocols", "predictions": "Predictions"}
_MESSAGES = "What webhooks receive"

router = page_router()


@dataclass(frozen=True)
class Content:
    """A body or an answer in one media type. `example`: None if there is none."""

    media_type: str
    described: Described | None
    example: str | None


@dataclass(frozen=True)
class Answer:
    """`schemas`: names of what errors are told in; an answer that is no error has `contents` instead."""

    status: str
    description: str
    headers: Sequence[Field]
    contents: Sequence[Content]
    schemas: Sequence[str]


@dataclass(frozen=True)
class Operation:
    """`brief`: in a line of a list. `commands`: (media type of the body, curl command)."""

    id: str
    method: str
    path: str
    brief: str
    description: str
    parameters: Sequence[Field]
    body: Sequence[Content]
    body_required: bool
    commands: Sequence[tuple[str, str]]
    successes: Sequence[Answer]
    errors: Sequence[Answer]


@dataclass(frozen=True)
class Group:
    id: str
    title: str
    operations: Sequence[Operation]


@router.get("/docs")
def get_reference(request: Request) -> Response:
    """Made once for each application: its routes do not change."""
    state = request.app.state
    if not hasattr(state, "reference"):
        document = request.app.openapi()
        found = groups(document)
        errors = list(_errors(document, found))
        made = page(request, "reference.html", info=document["info"], base=BASE, groups=found, errors=errors)
        state.reference = bytes(made.body)
    return HTMLResponse(state.reference, headers=HEADERS)


def groups(document: dict[str, Any]) -> list[Group]:
    """The operations of an OpenAPI document by their first tag, or else the first part of their path; then its webhooks."""
    schemas = Schemas(document["components"]["schemas"])
    found: dict[str, list[Operation]] = {}
    for path, item in document["paths"].items():
        for method, operation in item.items():
            key = (operation.get("tags") or [path.split("/")[1]])[0]
            curl = commands(method.upper(), path, operation)
            found.setdefault(key, []).append(_operation(schemas, method.upper(), path, operation, curl))
    made = [Group(key, _TITLES.get(key, key.capitalize()), operations) for key, operations in found.items()]
    messages = [
        _operation(schemas, method.upper(), event, operation, {})
        for event, item in document.get("webhooks", {}).items()
        for method, operation in item.items()
    ]
    return [*made, Group("messages", _MESSAGES, messages)] if messages else made


def _operation(schemas: Schemas, method: str, path: str, operation: dict[str, Any], curl: dict[str, str]) -> Operation:
    body = operation.get("requestBody", {})
    answers = [_answer(schemas, status, answer) for status, answer in sorted(operation["responses"].items())]
    return Operation(
        id=_anchor(method, path),
        method=method,
        path=path,
        brief=_brief(operation),
        description=operation.get("description", ""),
        parameters=[_parameter(schemas, parameter) for parameter in operation.get("parameters", ())],
        body=_contents(schemas, body.get("content", {})),
        body_required=body.get("required", False),
        commands=list(curl.items()),
        successes=[answer for answer in answers if answer.status < "4"],
        errors=[answer for answer in answers if answer.status >= "4"],
    )


def _brief(operation: dict[str, Any]) -> str:
    """Its first sentence: the summary is mostly the name of a function, in words."""
    first, stop, _ = str(operation.get("description", "")).partition("\n\n")[0].partition(". ")
    return first + stop.strip() or str(operation.get("summary", ""))


def _anchor(method: str, path: str) -> str:
    """`get-jobs-job_id-events`. A parameter's name keeps it apart from a fixed part."""
    return "-".join([method.lower(), *(part.strip("{}") for part in path.strip("/").split("/"))])


def _parameter(schemas: Schemas, parameter: dict[str, Any]) -> Field:
    schema = parameter.get("schema", {})
    notes = [f"in the {parameter['in']}", *schemas.notes(schema)]
    description = parameter.get("description", "")
    return Field(parameter["name"], schemas.type_of(schema), parameter.get("required", False), description, notes, ())


def _answer(schemas: Schemas, status: str, answer: dict[str, Any]) -> Answer:
    content = answer.get("content", {})
    headers = [
        Field(name, schemas.type_of(header.get("schema", {})), False, header.get("description", ""), (), ())
        for name, header in answer.get("headers", {}).items()
    ]
    named = [name for part in content.values() if (name := reference(part.get("schema", {})))]
    error = status >= "4"
    return Answer(status, answer.get("description", ""), headers, [] if error else _contents(schemas, content), named if error else [])


def _contents(schemas: Schemas, content: dict[str, Any]) -> list[Content]:
    made = []
    for media_type, part in content.items():
        # A stream tells the schema of one item (OpenAPI 3.2).
        schema = part.get("schema") or part.get("itemSchema")
        made.append(Content(media_type, schemas.describe(schema) if schema else None, _example(part.get("example"))))
    return made


def _example(value: Any) -> str | None:
    if value is None or isinstance(value, str):
        return value
    return json.dumps(value, indent=2, ensure_ascii=False)


def _errors(document: dict[str, Any], found: Sequence[Group]) -> Iterator[Fields]:
    """The objects in which errors are told, each once."""
    schemas = Schemas(document["components"]["schemas"])
    names = [name for group in found for operation in group.operations for error in operation.errors for name in error.schemas]
    for name in dict.fromkeys(names):
        yield from schemas.describe({"$ref": f"#/components/schemas/{name}"}).objects
