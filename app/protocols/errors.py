"""Errors in the shape that clients of foreign protocols read: `{"error": "..."}`."""

from collections.abc import Callable, Coroutine, Mapping
from typing import Any, ClassVar

from fastapi import Request, Response
from fastapi.responses import JSONResponse
from fastapi.routing import APIRoute
from pydantic import BaseModel, ValidationError
from sqlalchemy.exc import OperationalError

from app.errors import Problem, ServiceError, field_errors
from app.openapi import Responses, problems
from app.predictions.holdback import Refused
from app.storage import STORAGE_AWAY

_AWAY = ServiceError(503, "unavailable", "The database or the blob store does not answer.", remedy="Try again in a few seconds.").problem


class ErrorOut(BaseModel):
    error: str


def described(model: type[BaseModel], descriptions: Mapping[str, str]) -> Responses:
    """Responses of one shape, by status; `descriptions`: by status with an underscore before it."""
    found: Responses = {int(status.removeprefix("_")): {"model": model, "description": text} for status, text in descriptions.items()}
    if 404 in found:  # a name with a slash in it reaches no route, and gets the service's own error
        found[404]["content"] = problems(_404="")[404]["content"]
    return found


def errors(**descriptions: str) -> Responses:
    """Responses by status: `errors(_404="There is no such student.")`."""
    return described(ErrorOut, descriptions)


def invalid(detail: str, remedy: str) -> ServiceError:
    return ServiceError(422, "invalid-request", detail, remedy=remedy)


def invalid_fields(error: ValidationError, remedy: str) -> ServiceError:
    """The first faults that pydantic found, by their paths."""
    faults = [f"{item.column or 'body'}: {item.detail}" for item in field_errors(error)]
    return invalid(f"{'; '.join(faults[:3])}.", remedy)


class ProtocolRoute(APIRoute):
    """Errors of the service leave in the protocol's shape. `statuses`: of ours, those that the protocol knows by another number."""

    statuses: ClassVar[dict[int, int]] = {}

    @classmethod
    def answer(cls, problem: Problem, headers: Mapping[str, str]) -> Response:
        text = f"{problem.detail} {problem.remedy}" if problem.remedy else problem.detail
        return JSONResponse({"error": text}, cls.statuses.get(problem.status, problem.status), headers)

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()

        async def guarded(request: Request) -> Response:
            try:
                return await handle(request)
            except ServiceError as error:
                if isinstance(error, Refused):
                    await error.holdback.wait()
                return self.answer(error.problem, error.headers or {})
            except (OperationalError, *STORAGE_AWAY):
                return self.answer(_AWAY, {"Retry-After": "5"})

        return guarded


class InferenceRoute(ProtocolRoute):
    """The Open Inference Protocol says 400 of any request that cannot be used."""

    statuses: ClassVar[dict[int, int]] = {422: 400}
