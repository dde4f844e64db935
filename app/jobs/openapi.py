"""How the calls of jobs are described in OpenAPI where FastAPI cannot tell: bodies read by hand, and answers of two media types."""

from typing import Any

from pydantic import BaseModel

from app.datasets.schemas import FILE_FIELDS
from app.errors import CONTENT_TYPE, Problem
from app.jobs.schemas import JobOptions, JobRequest

Responses = dict[int | str, dict[str, Any]]


def problems(**descriptions: str) -> Responses:
    """Problem responses by status: `problems(_404="There is no such job.")`."""
    schema = {"$ref": f"#/components/schemas/{Problem.__name__}"}
    return {
        int(status.removeprefix("_")): {"model": Problem, "description": text, "content": {CONTENT_TYPE: {"schema": schema}}}
        for status, text in descriptions.items()
    }


def media(media_type: str, description: str) -> Responses:
    """A 200 that a caller may also have as `media_type`."""
    return {200: {"description": description, "content": {media_type: {"schema": {"type": "string"}}}}}


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


_OPTIONS = inlined(JobOptions)
_FORM = {
    "type": "object",
    "required": ["name"],
    "properties": {
        **FILE_FIELDS,
        **_OPTIONS["properties"],
        "spec": {"type": "string", "description": "Overrides as a JSON object.", "example": '{"distil": {"student": "bag"}}'},
        "dataset": {"type": "string", "description": "The id of a dataset, in place of `file`."},
    },
}
JOB_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {"application/json": {"schema": inlined(JobRequest)}, "multipart/form-data": {"schema": _FORM}},
    }
}
