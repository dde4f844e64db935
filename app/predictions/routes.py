"""`/predict`: a published student's answers."""

import time
from dataclasses import replace

from fastapi import APIRouter, Request, Response
from pydantic import TypeAdapter

from app.config import get_settings
from app.openapi import inlined, problems
from app.predictions.body import read_request
from app.predictions.direct import DirectRoute
from app.predictions.holdback import Refused
from app.predictions.predictor import Answer, Predictor
from app.predictions.schemas import PREDICT_ERRORS, PredictRequest, PredictResponse
from app.predictions.service import checked_texts
from app.principals import needs

router = APIRouter(tags=["predictions"], route_class=DirectRoute)

_BODY = {"requestBody": {"required": True, "content": {"application/json": {"schema": inlined(PredictRequest)}}}}
_ANSWER = TypeAdapter(PredictResponse)


@router.post(
    "/predict",
    response_model=PredictResponse,
    openapi_extra=_BODY,
    responses=problems(
        **PREDICT_ERRORS,
        _400="The body is not JSON.",
        _409="`escalate` for a student that was imported: its teacher is not here.",
        _422="Inputs that are empty, too long or too many, or another field out of range.",
    ),
)
@needs("predict")
async def post_predict(request: Request) -> Response:
    """Classifies one text or several with a published student; the predictions are in the order of the inputs."""
    return await predicted(request)


async def predicted(request: Request, *, counted: bool = True) -> Response:
    """The answer to a body as of `/predict`. `counted`: see `AnswerOptions`."""
    began = time.perf_counter()
    settings = get_settings()
    predictor: Predictor = request.app.state.predictor
    try:
        predictor.admission.check()
        body = await read_request(request, settings, predictor.admission)
        texts = checked_texts(body.inputs, settings.limits)
        options = body.options if counted else replace(body.options, counted=False)
        answer = await predictor.answer(body.student, texts, options)
    except Refused as error:
        await error.holdback.wait()
        raise
    return _TimedJson(_content(answer), _timing(answer, time.perf_counter() - began))


class _TimedJson(Response):
    """With its few headers as they are sent: Starlette's way to them takes as long as the JSON."""

    def __init__(self, content: bytes, timing: str) -> None:
        self.status_code, self.background, self.body = 200, None, content
        self.raw_headers = [
            (b"content-length", str(len(content)).encode()),
            (b"content-type", b"application/json"),
            (b"server-timing", timing.encode()),
        ]


def _content(answer: Answer) -> bytes:
    served = answer.served
    response = PredictResponse(student=served.name, version=served.version, threshold=answer.threshold, predictions=answer.predictions)
    return _ANSWER.dump_json(response)


def _timing(answer: Answer, total: float) -> str:
    """https://www.w3.org/TR/server-timing: milliseconds."""
    return f"tokenize;dur={answer.tokenize_seconds * 1e3:.3f}, infer;dur={answer.infer_seconds * 1e3:.3f}, total;dur={total * 1e3:.3f}"
