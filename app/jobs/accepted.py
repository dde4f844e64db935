"""The answer to a request that made something which takes its time: a job, or a bulk prediction."""

from typing import Any

from fastapi.responses import JSONResponse

from app.idempotency import REPLAYED

RETRY_AFTER = "2"
ACCEPTED: dict[str, Any] = {
    "headers": {
        "Location": {"description": "Where to follow it.", "schema": {"type": "string"}},
        "Retry-After": {"description": "Seconds.", "schema": {"type": "integer"}},
        REPLAYED: {"description": "`true` on the answer to a repeated request.", "schema": {"type": "string"}},
    }
}
"""How it is described in OpenAPI."""


def accepted(path: str, made: dict[str, Any], replayed: bool) -> JSONResponse:
    """`path`: before its id. `replayed`: the request was sent before, and this is the answer of then."""
    headers = {"Location": f"{path}/{made['id']}", "Retry-After": RETRY_AFTER, **({REPLAYED: "true"} if replayed else {})}
    return JSONResponse(made, 202, headers)
