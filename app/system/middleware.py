"""A request id and the security headers on every answer, and a line in the log about it."""

import logging
import random
import re
import time

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.logs import bind, context
from app.system.headers import secured

logger = logging.getLogger(__name__)

REQUEST_ID = "X-Request-ID"
_RAW_REQUEST_ID = REQUEST_ID.lower().encode()
UNMATCHED = "unmatched"
QUIET_ROUTES = {"/healthz", "/readyz", "/metrics"}
"""Asked every few seconds by machines; logged at level DEBUG unless they fail."""
_ACCEPTABLE = re.compile(r"[A-Za-z0-9._-]{1,128}")


def route_of(scope: Scope) -> tuple[str, str]:
    """Method and route template of a request that was routed. Paths hold ids, and callers make up methods: neither may be a label."""
    route = getattr(scope.get("route"), "path", UNMATCHED)
    return (scope["method"] if route != UNMATCHED else UNMATCHED), route


class RequestIdMiddleware:
    """Takes the caller's `X-Request-ID` if it is a plain one, else makes one; also at `request.state.request_id`, and on every log line.

    The security headers are added here because this is around all else, and touches the headers anyway.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        given = Headers(scope=scope).get(REQUEST_ID, "")
        request_id = given if _ACCEPTABLE.fullmatch(given) else f"{random.getrandbits(128):032x}"
        scope.setdefault("state", {})["request_id"] = request_id
        # Bound, not a `with`: what the server logs of a failed request, after this has returned, is of the same task.
        bind(request_id=request_id)

        async def marked(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = [header for header in secured(message["headers"]) if header[0] != _RAW_REQUEST_ID]
                message["headers"] = [*headers, (_RAW_REQUEST_ID, request_id.encode())]
            await send(message)

        await self.app(scope, receive, marked)


class AccessLogMiddleware:
    """One line when an answer has ended: method, route template, status and seconds. Never the path, which may hold anything."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        began = time.perf_counter()
        status: int | None = None

        async def observed(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self.app(scope, receive, observed)
        except Exception:
            status = status or 500
            raise
        finally:
            _log_access(scope, status, time.perf_counter() - began)


def _log_access(scope: Scope, status: int | None, seconds: float) -> None:
    method, route = route_of(scope)
    if status is None or status >= 500:
        level = logging.WARNING
    else:
        # Who refuses for want of room says so once in a while; a line for each would take the time that is wanting.
        level = logging.DEBUG if route in QUIET_ROUTES or status == 429 else logging.INFO
    if not logger.isEnabledFor(level):
        return
    with context(method=method, route=route, status=status, seconds=round(seconds, 6)):
        logger.log(level, "%s %s: %s", method, route, "not answered" if status is None else status)
