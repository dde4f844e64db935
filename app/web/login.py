"""`/ui/login`: from an API key to the session of a browser."""

import asyncio
from typing import Annotated

from fastapi import APIRouter, Form, Query, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import RedirectResponse

from app.access.keyring import MISS_SECONDS, Keyring
from app.access.keys import prefix_of
from app.access.sessions import COOKIE, SESSION_SECONDS, Sessions, same_origin
from app.errors import ServiceError
from app.principals import needs
from app.web.rendering import PageRoute, page

_MAX_BODY_BYTES = 10_000
_NO_STORE = {"Cache-Control": "no-store"}

router = APIRouter(include_in_schema=False, route_class=PageRoute, max_body_size=_MAX_BODY_BYTES)


@router.get("/ui/login")
@needs("public")
def login_page(request: Request, target: Annotated[str, Query(alias="next", max_length=2000)] = "/") -> Response:
    if request.app.state.keyring is None:
        return RedirectResponse(_own(target), 303)
    return page(request, "login.html", target=_own(target), refused=False)


@router.post("/ui/login")
@needs("public")
async def log_in(
    request: Request, key: Annotated[str, Form(max_length=200)], target: Annotated[str, Form(alias="next", max_length=2000)] = "/"
) -> Response:
    """Another site must not log a browser in either: what is done there would be seen by that key's owner."""
    _check_origin(request)
    keyring: Keyring | None = request.app.state.keyring
    if keyring is None:
        return RedirectResponse(_own(target), 303)
    key = key.strip()
    if keyring.find(key) is None:  # made a moment ago, perhaps
        await asyncio.sleep(keyring.wait_seconds())
        await run_in_threadpool(keyring.refresh, at_most_every=MISS_SECONDS)
    prefix = prefix_of(key)
    if prefix is None or keyring.find(key) is None:
        return page(request, "login.html", status=401, target=_own(target), refused=True)
    sessions: Sessions = request.app.state.sessions
    answer = RedirectResponse(_own(target), 303, headers=_NO_STORE)
    answer.set_cookie(
        COOKIE, sessions.cookie(prefix), max_age=SESSION_SECONDS, httponly=True, samesite="lax", secure=request.url.scheme == "https"
    )
    return answer


@router.post("/ui/logout")
@needs("public")
def log_out(request: Request) -> Response:
    _check_origin(request)
    answer = RedirectResponse("/ui/login", 303, headers={**_NO_STORE, "Clear-Site-Data": '"cache"'})
    answer.delete_cookie(COOKIE, httponly=True, samesite="lax", secure=request.url.scheme == "https")
    return answer


def _check_origin(request: Request) -> None:
    if not same_origin(request.headers):
        raise ServiceError(403, "cross-site-request", "Another site's page sent this request.", remedy="Use the page of this service.")


def _own(target: str) -> str:
    """An address on this service; browsers read a second slash, or a backslash, as the beginning of another host."""
    plain = target.isprintable() and target.startswith("/") and not target.startswith(("//", "/\\"))
    return target if plain else "/"
