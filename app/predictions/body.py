"""A prediction's request: its body within a time and a size, then as a checked `PredictRequest`."""

import asyncio

from fastapi.concurrency import run_in_threadpool
from pydantic import ValidationError
from starlette.requests import Request

from app.config import Settings
from app.datasets.uploads import declared_bytes, decode_json, read_body
from app.errors import FieldError, ServiceError
from app.predictions.admission import Admission
from app.predictions.schemas import PredictRequest

_EXAMPLE = '{"student": "triage", "inputs": ["my card was stolen"], "top_k": 3}'
_LARGE = 100_000
"""Bytes of JSON that are read in a thread: it takes about a millisecond."""


async def read_request(request: Request, settings: Settings, admission: Admission) -> PredictRequest:
    """Raises `ServiceError`: 400 not JSON, 408 too slow, 413 too large, 422 not a `PredictRequest`, 429 too many at a time."""
    content = await read_limited(request, settings, admission)
    return _parsed(content) if len(content) < _LARGE else await run_in_threadpool(_parsed, content)


async def read_limited(request: Request, settings: Settings, admission: Admission) -> bytes:
    """Raises `ServiceError`: 408 too slow, 413 too large, 429 too many at a time."""
    limit = settings.limits.max_upload_bytes
    declared = declared_bytes(request.scope)
    # One that does not say how large it is may become as large as is allowed.
    size = limit if declared is None else min(declared, limit)
    seconds = settings.serving.body_seconds
    with admission.reading(size):
        try:
            async with asyncio.timeout(seconds):
                return await read_body(request, settings.limits)
        except TimeoutError:
            detail = f"The body did not arrive within {seconds:g} s (setting GENDISTIL_SERVING__BODY_SECONDS)."
            remedy = "Send fewer texts in a call, or raise the setting."
            # The rest of the body is not waited for either.
            raise ServiceError(408, "body-timeout", detail, remedy=remedy, headers={"Connection": "close"}) from None


def _parsed(content: bytes) -> PredictRequest:
    try:
        return PredictRequest.model_validate_json(content)
    except ValidationError:  # the same again, slower, with errors that name the place
        return _validated(decode_json(content))


def _validated(value: object) -> PredictRequest:
    try:
        return PredictRequest.model_validate(value)
    except ValidationError as error:
        errors: dict[str, FieldError] = {}
        for item in error.errors():
            # The two types of `inputs` are tried in turn; a list's faults are told by their place in it.
            path = [str(part) for part in item["loc"] if part not in ("str", "list[str]")]
            errors.setdefault(".".join(path), FieldError(column=".".join(path) or None, detail=item["msg"], remedy=f"Send {_EXAMPLE}"))
        found = list(errors.values())
        if any((fault.column or "").startswith("inputs.") for fault in found):
            found = [fault for fault in found if fault.column != "inputs"]
        detail = "; ".join(f"{fault.column or 'body'}: {fault.detail}" for fault in found[:3])
        remedy = found[0].remedy
        raise ServiceError(422, "invalid-request", detail, remedy=remedy, errors=found[:50], errors_total=len(found)) from None
