"""`/predict`: a published student's answers."""

from fastapi import APIRouter, Request
from fastapi.concurrency import run_in_threadpool
from pydantic import ValidationError

from app.config import get_settings
from app.datasets.uploads import read_json
from app.errors import FieldError, ServiceError
from app.jobs.openapi import inlined, problems
from app.predictions.cache import StudentCache
from app.predictions.schemas import PredictRequest, PredictResponse
from app.predictions.service import predict

router = APIRouter(tags=["predictions"])

_EXAMPLE = '{"student": "triage", "inputs": ["my card was stolen"], "top_k": 3}'
_BODY = {"requestBody": {"required": True, "content": {"application/json": {"schema": inlined(PredictRequest)}}}}


@router.post(
    "/predict",
    openapi_extra=_BODY,
    responses=problems(
        _400="The body is not JSON.",
        _404="There is no such student, version or alias.",
        _413="The body is larger than the limit.",
        _422="Inputs that are empty, too long or too many, or another field out of range.",
        _503="This student's files are missing or damaged; others are served.",
    ),
)
async def post_predict(request: Request) -> PredictResponse:
    """Classifies one text or several with a published student; the predictions are in the order of the inputs."""
    limits = get_settings().limits
    body = _validated(await read_json(request, limits))
    students: StudentCache = request.app.state.students
    return await run_in_threadpool(predict, body, limits, students)


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
