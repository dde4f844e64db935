"""How the calls of jobs are described in OpenAPI where FastAPI cannot tell: bodies of two kinds, and answers of two media types."""

from typing import Any

from app.datasets.schemas import FILE_FIELDS
from app.jobs.schemas import EventOut, JobOptions, JobRequest
from app.openapi import Responses, inlined

NO_JOB = "There is no such job."
NO_PLACE = "The project has all the open jobs, or has used all the minutes, of its quota; `Retry-After` tells when to try again."


def media(media_type: str, description: str) -> Responses:
    """A 200 that a caller may also have as `media_type`."""
    return {200: {"description": description, "content": {media_type: {"schema": {"type": "string"}}}}}


EVENTS: Responses = {
    200: {
        "description": "A page of events, or a stream of them until the job has ended.",
        "content": {
            "text/event-stream": {
                "itemSchema": {
                    "type": "object",
                    "required": ["data", "event", "id"],
                    "properties": {
                        "data": {
                            "type": "string",
                            "contentMediaType": "application/json",
                            "contentSchema": {"$ref": f"#/components/schemas/{EventOut.__name__}"},
                        },
                        "event": {"type": "string"},
                        "id": {"type": "string"},
                    },
                }
            }
        },
    }
}
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
