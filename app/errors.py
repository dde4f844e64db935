"""Errors that a caller sees, as problem+json (RFC 9457)."""

from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field, ValidationError
from starlette.exceptions import HTTPException
from starlette.routing import Match
from starlette.types import Scope

CONTENT_TYPE = "application/problem+json"
_METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")


class FieldError(BaseModel):
    """Where the fault lies, and how to mend it."""

    row: int | None = Field(None, description="1 is the first row of data.")
    column: str | None = None
    detail: str
    remedy: str | None = None


class Problem(BaseModel):
    """RFC 9457 body. `type` is stable; `errors` names rows, columns or fields."""

    type: str
    title: str
    status: int
    detail: str
    remedy: str | None = None
    errors: list[FieldError] = []
    errors_total: int | None = Field(None, description="All faults found; `errors` holds the first of them.")
    request_id: str | None = Field(None, description="As in `X-Request-ID`; the service's log has it on every line about this request.")


class ServiceError(Exception):
    """An error with an answer. Services raise it; the handlers below turn it into problem+json."""

    def __init__(
        self,
        status: int,
        type: str,
        detail: str,
        *,
        remedy: str | None = None,
        errors: list[FieldError] | None = None,
        errors_total: int | None = None,
        headers: dict[str, str] | None = None,
    ) -> None:
        super().__init__(detail)
        self.headers = headers
        self.problem = Problem(
            type=f"urn:gendistil:{type}",
            title=type.replace("-", " ").capitalize(),
            status=status,
            detail=detail,
            remedy=remedy,
            errors=errors or [],
            errors_total=errors_total,
        )


def not_found(what: str, name: object, remedy: str | None = None) -> ServiceError:
    return ServiceError(404, f"{what}-not-found", f"There is no {what} {name!r}.", remedy=remedy)


def database_unavailable() -> ServiceError:
    detail, remedy = "The database does not answer, or is locked.", "Try again in a few seconds."
    return ServiceError(503, "database-unavailable", detail, remedy=remedy, headers={"Retry-After": "5"})


def field_errors(error: ValidationError | RequestValidationError, prefix: str = "") -> list[FieldError]:
    """Pydantic's errors, each named by its dotted path."""
    found = []
    for item in error.errors():
        path = ".".join(str(part) for part in item["loc"] if part != "body")
        found.append(FieldError(column=f"{prefix}{path}" or None, detail=str(item["msg"])))
    return found


def install_handlers(app: FastAPI) -> None:
    """Every error of the application leaves as problem+json."""

    @app.exception_handler(ServiceError)
    async def service_error(request: Request, error: ServiceError) -> JSONResponse:
        return respond(request.scope, error)

    @app.exception_handler(RequestValidationError)
    async def invalid_request(request: Request, error: RequestValidationError) -> JSONResponse:
        errors = field_errors(error)
        detail = "; ".join(f"{item.column or 'body'}: {item.detail}" for item in errors[:3])
        return respond(
            request.scope, ServiceError(422, "invalid-request", detail, remedy="See /docs for what this call takes.", errors=errors)
        )

    @app.exception_handler(HTTPException)
    async def http_error(request: Request, error: HTTPException) -> JSONResponse:
        kinds = {
            400: "unreadable-body",
            404: "route-not-found",
            405: "method-not-allowed",
            408: "body-timeout",
            413: "upload-too-large",
        }
        remedies = {400: "Send JSON in UTF-8.", 408: "Send it faster, or raise the setting.", 413: "Send less, or raise the setting."}
        remedy = remedies.get(error.status_code, "See /docs for the routes.")
        answer = ServiceError(error.status_code, kinds.get(error.status_code, "http-error"), str(error.detail), remedy=remedy)
        answer.headers = dict(error.headers) if error.headers else None
        if error.status_code == 405:
            answer.headers = {"Allow": ", ".join(_allowed(request))}
        return respond(request.scope, answer)


def _allowed(request: Request) -> list[str]:
    """Of a path, by all its routes; the router tells those of the first one."""
    routes = request.app.routes
    scopes = [{**request.scope, "method": method} for method in _METHODS]
    return [scope["method"] for scope in scopes if any(route.matches(scope)[0] == Match.FULL for route in routes)]


def respond(scope: Scope, error: ServiceError) -> JSONResponse:
    """The answer to the request of `scope`."""
    problem = error.problem.model_copy(update={"request_id": scope.get("state", {}).get("request_id")})
    body: dict[str, Any] = problem.model_dump(exclude_none=True)
    return JSONResponse(body, status_code=problem.status, media_type=CONTENT_TYPE, headers=error.headers)
