"""How calls are described in OpenAPI where FastAPI cannot tell: errors, bodies read by hand, and parameters as they are sent."""

import copy
import json
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

from fastapi import FastAPI
from fastapi.routing import iter_route_contexts
from pydantic import BaseModel
from starlette.routing import BaseRoute

from app.config import get_settings
from app.errors import CONTENT_TYPE, Problem
from app.principals import Need, need_of

Responses = dict[int | str, dict[str, Any]]


KEY = "key"
_SCHEME = {
    "type": "http",
    "scheme": "bearer",
    "description": "An API key, where the service asks for keys. The scope that a call needs stands with it.",
}
_EXAMPLES = Path(__file__).with_name("openapi_examples.json")
_LISTS: dict[str, dict[str, Any]] = {"items": {"has_more": True, "next_after": 17}, "data": {"object": "list", "has_more": False}}
"""What stands beside the items of a list, by the name that these have."""


class DescribedApi(FastAPI):
    """FastAPI, with a document whose parameters say what this service takes, and with an example of each body and answer."""

    def openapi(self) -> dict[str, Any]:
        if self.openapi_schema is None:
            largest = get_settings().limits.page_size
            document = super().openapi()
            needs = needs_of(self.router.routes)
            document["components"]["securitySchemes"] = {KEY: _SCHEME}
            for address, path in document["paths"].items():
                for method, operation in path.items():
                    _add_access(operation, needs[method.upper(), address])
                    _add_examples(f"{method.upper()} {address}", operation, document["components"]["schemas"])
                    for response in operation["responses"].values():
                        _drop_second_type(response.get("content", {}))
                    for parameter in operation.get("parameters", ()):
                        parameter["schema"] = _as_sent(parameter["schema"])
                        if parameter["name"] == "limit":
                            parameter["schema"]["maximum"] = largest
        return super().openapi()


def needs_of(routes: Sequence[BaseRoute]) -> dict[tuple[str, str], Need]:
    """What each call needs, by method and path template."""
    found: dict[tuple[str, str], Need] = {}
    for route in iter_route_contexts(routes):
        for method in route.methods or ():
            found.setdefault((method, route.path or ""), need_of(route.endpoint, method))
    return found


def problems(**descriptions: str) -> Responses:
    """Problem responses by status: `problems(_404="There is no such job.")`."""
    schema = {"$ref": f"#/components/schemas/{Problem.__name__}"}
    return {
        int(status.removeprefix("_")): {"model": Problem, "description": text, "content": {CONTENT_TYPE: {"schema": schema}}}
        for status, text in descriptions.items()
    }


def inlined(model: type[BaseModel]) -> dict[str, Any]:
    """The model's JSON schema with its definitions put in place, as a hand-written part of a document cannot refer to them."""
    schema = model.model_json_schema()
    definitions = schema.pop("$defs", {})

    def put_in(part: Any) -> Any:
        if isinstance(part, list):
            return [put_in(item) for item in part]
        if not isinstance(part, dict):
            return part
        if "$ref" in part:
            return put_in(definitions[part["$ref"].rpartition("/")[2]])
        return {name: put_in(value) for name, value in part.items()}

    return {name: put_in(value) for name, value in schema.items()}


def _add_access(operation: dict[str, Any], need: Need) -> None:
    """The scope, and how the call is refused without it: in the shape of its other errors."""
    if need == "public":
        operation["security"] = []
        return
    operation["security"] = [{KEY: [need]}]
    answers = operation["responses"]
    shape = next(answers[status]["content"] for status in ("400", "503") if "content" in answers.get(status, {}))
    refusals = {"401": "The service asks for API keys, and none came that is good.", "403": f"The API key lacks the scope `{need}`."}
    for status, text in refusals.items():
        other = answers.get(status, {"content": copy.deepcopy(shape)})
        answers[status] = {**other, "description": f"{text} Or: {other['description']}" if "description" in other else text}
    operation["responses"] = dict(sorted(answers.items()))


def _drop_second_type(content: dict[str, Any]) -> None:
    """A problem is of one media type; FastAPI adds its own to that of every model."""
    if content.get(CONTENT_TYPE) is not None and content.get(CONTENT_TYPE) == content.get("application/json"):
        del content["application/json"]


def _as_sent(schema: dict[str, Any]) -> dict[str, Any]:
    """A header or a part of an address is left out; it is never null."""
    kinds = [kind for kind in schema.get("anyOf", ()) if kind != {"type": "null"}]
    if len(kinds) != 1:
        return schema
    return {**kinds[0], **{name: value for name, value in schema.items() if name != "anyOf"}}


@cache
def _examples() -> dict[str, dict[str, Any]]:
    """`schemas`: by the name of a schema. `media`: by call, status (of an answer) and media type, where that is not enough."""
    found: dict[str, dict[str, Any]] = json.loads(_EXAMPLES.read_text(encoding="utf-8"))
    return found


def _add_examples(call: str, operation: dict[str, Any], named: dict[str, Any]) -> None:
    """To the body, and to each answer that is no error, in every media type that has one and does not bring its own."""
    parts = {call: operation.get("requestBody", {})}
    parts |= {f"{call} {status}": response for status, response in operation["responses"].items() if status.startswith("2")}
    for place, part in parts.items():
        for media_type, content in part.get("content", {}).items():
            known = _examples()["media"].get(f"{place} {media_type}")
            example = known if known is not None else _example_of(content.get("schema", {}), named)
            if example is not None and not {"example", "examples"} & content.keys():
                content["example"] = example


def _example_of(schema: dict[str, Any], named: dict[str, Any]) -> Any:
    """Of a schema that has one by its name, or that is made of such and of defaults; None of any other."""
    if "$ref" in schema:
        return _example_of({"title": schema["$ref"].rpartition("/")[2], **named[schema["$ref"].rpartition("/")[2]]}, named)
    if choices := schema.get("anyOf"):
        return _example_of(choices[0], named)
    if schema.get("type") == "array":
        item = _example_of(schema["items"], named)
        return None if item is None else [item]
    properties = schema.get("properties", {})
    known = _examples()["schemas"].get(schema.get("title", ""))
    for name, others in _LISTS.items():
        if known is None and name in properties and (items := _example_of(properties[name], named)):
            return {name: items, **{key: value for key, value in others.items() if key in properties}}
    if known is None and not properties:
        return None
    wanted = schema.get("required", []) if known is not None else properties
    made = {name: _default_of(properties[name], named) for name in wanted if name not in (known or {})}
    return None if None in made.values() else {**(known or {}), **made}


def _default_of(schema: dict[str, Any], named: dict[str, Any]) -> Any:
    return schema["default"] if "default" in schema else _example_of(schema, named)
