"""How a page is made: Jinja2 with autoescape, a page's own security headers (app/system/headers.py adds the rest), and errors as pages."""

import logging
from collections.abc import Callable, Coroutine
from functools import lru_cache
from pathlib import Path
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse
from fastapi.routing import APIRoute
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from sqlalchemy.exc import OperationalError
from starlette.exceptions import HTTPException

from app.errors import ServiceError
from app.principals import current_principal
from app.storage import STORAGE_AWAY
from app.web import filters
from app.web.assets import static

logger = logging.getLogger(__name__)

TEMPLATES = Path(__file__).parent / "templates"
HEADERS = {
    # Nothing from elsewhere and nothing inline: a text that a user or a generator wrote can never become a script.
    "Content-Security-Policy": "default-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'; object-src 'none'",
    "Permissions-Policy": "camera=(), display-capture=(), geolocation=(), microphone=(), payment=(), usb=()",
    "Referrer-Policy": "same-origin",
    "Cache-Control": "no-cache",
}


@lru_cache
def environment() -> Environment:
    made = Environment(loader=FileSystemLoader(TEMPLATES), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    made.filters.update(filters.FILTERS)
    made.globals.update(static=static, principal=current_principal.get)
    return made


def page(request: Request, template: str, *, status: int = 200, **context: Any) -> HTMLResponse:
    """The template as an answer, with the headers of a page. `context`: its variables; `request` is always one of them."""
    content = environment().get_template(template).render(request=request, **context)
    return HTMLResponse(content, status, headers=HEADERS)


class PageRoute(APIRoute):
    """A route whose errors are pages: what it raises is told with its remedy, and a way back."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handler = super().get_route_handler()

        async def handled(request: Request) -> Response:
            try:
                return await handler(request)
            except ServiceError as error:
                problem = error.problem
                return error_page(request, problem.status, problem.title, problem.detail, problem.remedy)
            except RequestValidationError as error:
                detail = "; ".join(f"{item['loc'][-1]}: {item['msg']}" for item in error.errors()[:3])
                return error_page(request, 422, "This address asks for something that cannot be", detail)
            except HTTPException as error:
                return error_page(request, error.status_code, str(error.detail), "")
            except OperationalError as error:
                logger.error("the database failed: %s", error)
                return _away(request, "The database does not answer")
            except STORAGE_AWAY as error:
                logger.error("the blob store failed: %s", error)
                return _away(request, "The blob store does not answer")

        return handled


def page_router() -> APIRouter:
    """For pages: not in the API's document, and with errors as pages."""
    return APIRouter(include_in_schema=False, route_class=PageRoute)


def error_page(request: Request, status: int, title: str, detail: str, remedy: str | None = None) -> HTMLResponse:
    return page(request, "error.html", status=status, title=title, detail=detail, remedy=remedy, code=status)


def _away(request: Request, title: str) -> HTMLResponse:
    return error_page(request, 503, title, "Nothing is lost.", "Try again in a few seconds.")
