"""How calls are described in OpenAPI where FastAPI cannot tell: errors, bodies read by hand, and parameters as they are sent."""

from typing import Any

from fastapi import FastAPI
from pydantic import BaseModel

from app.config import get_settings
from app.errors import CONTENT_TYPE, Problem

Responses = dict[int | str, dict[str, Any]]


class DescribedApi(FastAPI):
    """FastAPI, with a document whose parameters say what this service takes."""

    def openapi(self) -> dict[str, Any]:
        if self.openapi_schema is None:
            largest = get_settings().limits.page_size
            for path in super().openapi()["paths"].values():
                for operation in path.values():
                    for response in operation["responses"].values():
                        _drop_second_type(response.get("content", {}))
                    for parameter in operation.get("parameters", ()):
                        parameter["schema"] = _as_sent(parameter["schema"])
                        if parameter["name"] == "limit":
                            parameter["schema"]["maximum"] = largest
        return super().openapi()


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
