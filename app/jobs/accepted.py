"""The answer to a request that made a job."""

from typing import Any

from fastapi.responses import JSONResponse

from app.idempotency import REPLAYED

RETRY_AFTER = "2"
ACCEPTED: dict[str, Any] = {
    "headers": {
        "Location": {"description": "Where to follow the job.", "schema": {"type": "string"}},
        "Retry-After": {"description": "Seconds.", "schema": {"type": "integer"}},
        REPLAYED: {"description": "`true` on the answer to a repeated request.", "schema": {"type": "string"}},
    }
}
"""How it is described in OpenAPI."""


def accepted(job: dict[str, Any], replayed: bool) -> JSONResponse:
    """`replayed`: the request was sent before, and this is the answer of then."""
    headers = {"Location": f"/jobs/{job['id']}", "Retry-After": RETRY_AFTER, **({REPLAYED: "true"} if replayed else {})}
    return JSONResponse(job, 202, headers)
