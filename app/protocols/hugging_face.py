"""Text classification as the clients of Hugging Face's inference API ask for it."""

from typing import Any, Literal

from fastapi import APIRouter, Request
from fastapi.concurrency import run_in_threadpool
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from app.datasets.uploads import decode_json
from app.openapi import inlined
from app.predictions.schemas import PREDICT_ERRORS, Score
from app.principals import needs
from app.protocols.errors import ProtocolRoute, errors, invalid_fields
from app.protocols.predictor import ALL, Reference, classify, read

router = APIRouter(tags=["protocols"], route_class=ProtocolRoute)


class Parameters(BaseModel):
    model_config = ConfigDict(extra="forbid")

    top_k: int | None = Field(None, ge=1, description="Labels of each answer; all, if it is left out.")
    function_to_apply: Literal["softmax"] | None = Field(None, description="Scores are always those of the softmax.")


class ClassificationRequest(BaseModel):
    model_config = ConfigDict(extra="forbid")

    inputs: str | list[str] = Field(description="One text or several; two are a batch of two, not a pair.", examples=["my card was stolen"])
    parameters: Parameters | None = None
    options: dict[str, Any] | None = Field(None, description="Taken and not used: there is nothing to wait for, and no cache to go around.")


_BODY = {"requestBody": {"required": True, "content": {"application/json": {"schema": inlined(ClassificationRequest)}}}}


@router.post(
    "/hf/{student}",
    openapi_extra=_BODY,
    responses=errors(**PREDICT_ERRORS, _400="The body is not JSON.", _422="A field that cannot be used."),
)
@needs("predict")
async def classify_texts(student: Reference, request: Request) -> list[list[Score]]:
    """For each text its labels, the best first. `student` is `name`, `name@alias` or `name:version`."""
    body = _validated(await run_in_threadpool(decode_json, await read(request)))
    top_k = body.parameters.top_k if body.parameters else None
    answer = await classify(request, student, body.inputs, top_k or ALL)
    return [prediction.scores for prediction in answer.predictions]


def _validated(value: object) -> ClassificationRequest:
    try:
        return ClassificationRequest.model_validate(value)
    except ValidationError as error:
        raise invalid_fields(error, 'Send {"inputs": "text" or ["text", ...], "parameters": {"top_k": 3}}.') from None
