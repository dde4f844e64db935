"""Errors as the clients of OpenAI's API read them: `{"error": {"message", "type", "param", "code"}}`, under that API's statuses."""

from collections.abc import Callable, Coroutine, Mapping
from typing import Any

from fastapi import Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ValidationError
from starlette.exceptions import HTTPException

from app.errors import FieldError, Problem, ServiceError, field_errors
from app.openapi import Responses
from app.protocols.errors import ProtocolRoute, described

UNUSABLE_ROWS = {"too-few-rows", "too-few-classes", "too-many-classes", "similar-labels", "unknown-test-label"}
"""Each row can be read, but they make no classifier: 422, where any other fault of a request is 400."""

_QUOTA = "insufficient_quota"
_CODES = {
    "student-not-found": "model_not_found",
    "version-not-found": "model_not_found",
    "alias-not-found": "model_not_found",
    "overloaded": "rate_limit_exceeded",
    "quota-exceeded": _QUOTA,
    "rate-limited": "rate_limit_exceeded",
}
_TYPES = {429: "rate_limit_error"}
_LISTED = 3


class ErrorBody(BaseModel):
    message: str
    type: str
    param: str | None = None
    code: str | None = None


class ErrorResponse(BaseModel):
    error: ErrorBody


def errors(**descriptions: str) -> Responses:
    """Responses by status: `errors(_404="There is no such job.")`; 503 is among them."""
    texts = {"_503": "The database or the blob store does not answer.", **descriptions}
    return described(ErrorResponse, dict(sorted(texts.items())))


def refusal(param: str | None, detail: str, remedy: str | None = None, *, status: int = 400, code: str = "invalid_value") -> ServiceError:
    """An error about one parameter of a request."""
    errors = [FieldError(column=param, detail=detail, remedy=remedy)] if param else []
    return ServiceError(status, code.replace("_", "-"), detail, remedy=remedy, errors=errors)


def no_such_model(model: str) -> ServiceError:
    remedy = "GET /v1/models lists those that answer: `ft:...`, or a student's name, name@alias or name:version."
    return refusal("model", f"The model {model[:100]!r} does not exist.", remedy, status=404, code="model_not_found")


def invalid_fields(error: ValidationError) -> ServiceError:
    """400 that names the first fields at fault."""
    return _invalid(field_errors(error))


def _invalid(faults: list[FieldError]) -> ServiceError:
    detail = "; ".join(f"{fault.column or 'body'}: {fault.detail}" for fault in faults[:_LISTED])
    return ServiceError(400, "invalid-value", f"{detail}.", remedy="See docs/openai.md for what is taken.", errors=faults)


class OpenAiRoute(ProtocolRoute):
    """Errors of the service, and those of FastAPI, leave in OpenAI's shape."""

    @classmethod
    def answer(cls, problem: Problem, headers: Mapping[str, str]) -> Response:
        kind = problem.type.rpartition(":")[2]
        status = 400 if problem.status == 415 or (problem.status == 422 and kind not in UNUSABLE_ROWS) else problem.status
        code = _CODES.get(kind, kind.replace("-", "_"))
        type = _QUOTA if code == _QUOTA else _TYPES.get(status, "server_error" if status >= 500 else "invalid_request_error")
        body = ErrorBody(message=_message(problem), type=type, param=_param(problem), code=code)
        if status == 409 and "Retry-After" not in headers:
            # The official client sends again what was answered 409, unless it is told that nothing will change.
            headers = {**headers, "x-should-retry": "false"}
        return JSONResponse({"error": body.model_dump()}, status, headers)

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()

        async def guarded(request: Request) -> Response:
            try:
                return await handle(request)
            except RequestValidationError as error:
                return self.answer(_invalid(field_errors(error)).problem, {})
            except HTTPException as error:
                return self.answer(refusal(None, str(error.detail), "Send JSON in UTF-8.", status=error.status_code).problem, {})

        return guarded


def _param(problem: Problem) -> str | None:
    first = problem.errors[0] if problem.errors else None
    if first is None or first.column is None or first.row is not None:
        return None
    return first.column.removeprefix("query.").removeprefix("path.")


def _message(problem: Problem) -> str:
    """Faults of rows by the lines they stand on."""
    listed = [f"line {fault.row}: {fault.detail}" for fault in problem.errors[:_LISTED] if fault.row is not None]
    detail = problem.detail
    if listed:
        total = problem.errors_total or len(problem.errors)
        more = f" ({total} faults in all)" if total > len(listed) else ""
        detail = f"{'; '.join(listed)}{more}"
    sentence = detail if detail.endswith(".") else f"{detail}."
    return f"{sentence} {problem.remedy}" if problem.remedy else sentence
