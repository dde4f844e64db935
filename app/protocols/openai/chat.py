"""`/v1/chat/completions`: a student's answer to the last message of the user, its label as the message of the assistant."""

import json
import math
import secrets
import time
from collections.abc import Iterator
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import JSONResponse, StreamingResponse
from fastapi.sse import format_sse_event
from pydantic import ValidationError

from app.config import get_settings
from app.datasets.uploads import decode_json
from app.errors import ServiceError
from app.openapi import inlined
from app.predictions.predictor import Predictor
from app.predictions.schemas import PREDICT_ERRORS, AnswerOptions, Prediction, Score
from app.predictions.service import checked_texts
from app.principals import needs
from app.protocols.openai.chat_schemas import ChatCompletion, ChatRequest, Choice, Logprobs, Message, TokenLogprob, TopLogprob, Usage
from app.protocols.openai.errors import OpenAiRoute, errors, invalid_fields, no_such_model, refusal
from app.protocols.openai.examples import Unreadable, last_user_text
from app.protocols.openai.names import fine_tuned_name, reference_of
from app.protocols.openai.streams import DONE, EVENT_STREAM
from app.protocols.predictor import read

router = APIRouter(prefix="/chat", route_class=OpenAiRoute)

_LEAST_LOGPROB = -9999.0
"""What that API says of a probability too small to tell."""
_BODY = {"requestBody": {"required": True, "content": {"application/json": {"schema": inlined(ChatRequest)}}}}


@router.post(
    "/completions",
    response_model=ChatCompletion,
    openapi_extra=_BODY,
    responses={
        200: {"description": "The label; with `stream` as chunks.", "content": EVENT_STREAM},
        **errors(**PREDICT_ERRORS, _400="A parameter that is out of range or not offered, or no text to classify."),
    },
)
@needs("predict")
async def complete(request: Request) -> Response:
    """The label of the last message of the user."""
    content = await read(request)
    body = await run_in_threadpool(_validated, content)
    wanted = max(1, body.top_logprobs or 0)
    completion = await _answered(request, body, _text(body), wanted)
    if body.stream:
        include_usage = bool(body.stream_options and body.stream_options.include_usage)
        return StreamingResponse(_chunks(completion, include_usage), media_type="text/event-stream", headers={"Cache-Control": "no-cache"})
    return JSONResponse(completion.model_dump())


def _validated(content: bytes) -> ChatRequest:
    try:
        body = ChatRequest.model_validate(decode_json(content))
    except ValidationError as error:
        raise invalid_fields(error) from None
    if body.top_logprobs is not None and not body.logprobs:
        raise refusal("top_logprobs", "It is sent without logprobs.", "Send logprobs: true with it.")
    if body.response_format is not None and body.response_format.get("type") != "text":
        raise refusal("response_format", "An answer is a label, as text.", "Leave it out.")
    for param, given in (("tools", body.tools), ("functions", body.functions)):
        if given:
            raise refusal(param, "A student calls nothing.", "Leave them out.")
    if body.modalities is not None and body.modalities != ["text"]:
        raise refusal("modalities", "An answer is a label, as text.", "Leave them out.")
    return body


def _text(body: ChatRequest) -> str:
    try:
        text = last_user_text(list(body.messages))
        return checked_texts(text, get_settings().limits)[0]
    except Unreadable as error:
        raise refusal("messages", f"The messages cannot be used: {error}.", "Send the text as the last message of the user.") from None
    except ServiceError as error:
        fault = error.problem.errors[0]
        raise refusal("messages", f"The last message of the user cannot be used: {fault.detail}.", fault.remedy) from None


async def _answered(request: Request, body: ChatRequest, text: str, top_k: int) -> ChatCompletion:
    predictor: Predictor = request.app.state.predictor
    try:
        found = await predictor.answer(reference_of(body.model), [text], AnswerOptions(top_k))
    except ServiceError as error:
        raise (no_such_model(body.model) if error.problem.status == 404 else error) from None
    served = found.served
    # It has just answered, so this loads nothing.
    student = await run_in_threadpool(predictor.students.get, served.key)
    # Read once more for `usage`: what the predictor counts is of all the requests that shared its call.
    pieces = int(student.encode([text]).lengths[0])
    prediction = found.predictions[0]
    choice = Choice(
        message=Message(content=prediction.label), logprobs=_logprobs(prediction, body.top_logprobs or 0) if body.logprobs else None
    )
    return ChatCompletion(
        id=f"chatcmpl-{secrets.token_hex(12)}",
        created=int(time.time()),
        model=fine_tuned_name(student.manifest.kind, served.name, served.version),
        choices=[choice],
        usage=Usage(prompt_tokens=pieces, total_tokens=pieces + 1),
        system_fingerprint=f"fp_{served.key[:12]}",
    )


def _logprobs(prediction: Prediction, top: int) -> Logprobs:
    best, *_ = ranked = [_logprob(score) for score in prediction.scores]
    return Logprobs(content=[TokenLogprob(**best.model_dump(), top_logprobs=ranked[:top])])


def _logprob(score: Score) -> TopLogprob:
    logprob = math.log(score.score) if score.score > 0 else _LEAST_LOGPROB
    return TopLogprob(token=score.label, logprob=logprob, bytes=list(score.label.encode()))


def _chunks(completion: ChatCompletion, include_usage: bool) -> Iterator[bytes]:
    """The whole answer is there at once: it is one chunk, after which comes the end."""
    whole = completion.model_dump()
    choice = whole["choices"][0]
    delta = {"index": 0, "delta": choice["message"], "logprobs": choice["logprobs"], "finish_reason": choice["finish_reason"]}
    head = {name: whole[name] for name in ("id", "created", "model", "system_fingerprint")} | {"object": "chat.completion.chunk"}
    yield _event({**head, "choices": [delta], **({"usage": None} if include_usage else {})})
    if include_usage:
        yield _event({**head, "choices": [], "usage": whole["usage"]})
    yield DONE


def _event(value: dict[str, Any]) -> bytes:
    return format_sse_event(data_str=json.dumps(value, separators=(",", ":")))
