"""Nothing is read of a request before its key is known to be good for its route."""

import asyncio
from collections.abc import Callable, Mapping
from urllib.parse import quote

from fastapi.concurrency import run_in_threadpool
from sqlalchemy.exc import SQLAlchemyError
from starlette.datastructures import Headers
from starlette.requests import cookie_parser
from starlette.responses import RedirectResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from app.access.keyring import MISS_SECONDS, Keyring
from app.access.rights import scope_missing
from app.access.rules import Rules
from app.access.sessions import COOKIE, SAFE_METHODS, Sessions, same_origin
from app.errors import Problem, ServiceError, database_unavailable, respond
from app.ownership import enter_project
from app.principals import Need, Principal, current_principal

LOGIN = "/ui/login"
Shape = Callable[[Problem, Mapping[str, str]], Response]
"""How a protocol tells an error."""

_AUTHENTICATE = {"WWW-Authenticate": 'Bearer realm="gendistil"'}


class AccessMiddleware:
    """Answers 401 without a good key and 403 for one that lacks the scope. `shapes`: of errors, by the first part of the path."""

    def __init__(
        self, app: ASGIApp, *, rules: Callable[[], Rules], keyring: Keyring, sessions: Sessions, shapes: Mapping[str, Shape]
    ) -> None:
        self.app = app
        self._make_rules = rules
        self._rules: Rules | None = None
        self._keyring = keyring
        self._sessions = sessions
        self._shapes = shapes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        if self._rules is None:
            self._rules = self._make_rules()
        rule = self._rules.find(scope["method"], scope["path"])
        need = rule.need(scope["method"]) if rule else None
        try:
            principal = await self._principal(scope)
            _check(principal, need)
        except ServiceError as error:
            scope["route"] = rule  # what logs and metrics know a request by; no router will set it
            await self._refusal(scope, error)(scope, receive, send)
            return
        current_principal.set(principal)
        if principal is not None:
            enter_project(principal.project)
        await self.app(scope, receive, send)

    async def _principal(self, scope: Scope) -> Principal | None:
        """Raises `ServiceError`: 401 for a key that is not good, 403 for a change that another site's page asks for."""
        given = next((value for name, value in scope["headers"] if name == b"authorization"), None)
        if given is not None:
            kind, _, key = given.decode("latin-1").partition(" ")
            principal = await self._known(lambda: self._keyring.find(key.strip())) if kind.lower() == "bearer" else None
            if principal is None:
                raise _unauthenticated("This API key is not known, has expired, or was revoked.")
            return principal
        headers = Headers(scope=scope)
        cookie = cookie_parser(headers.get("cookie", "")).get(COOKIE)
        prefix = self._sessions.prefix(cookie) if cookie else None
        principal = await self._known(lambda: self._keyring.find_prefix(prefix)) if prefix else None
        if principal is not None and scope["method"] not in SAFE_METHODS and not same_origin(headers):
            raise ServiceError(
                403, "cross-site-request", "Another site's page sent this request.", remedy="Use the page of this service, or an API key."
            )
        return principal

    async def _known(self, find: Callable[[], Principal | None]) -> Principal | None:
        if (found := find()) is None:
            # Made by another process a moment ago, perhaps. Whoever guesses waits too.
            await asyncio.sleep(self._keyring.wait_seconds())
            try:
                await run_in_threadpool(self._keyring.refresh, at_most_every=MISS_SECONDS)
            except SQLAlchemyError as error:
                raise database_unavailable() from error
            found = find()
        return found

    def _refusal(self, scope: Scope, error: ServiceError) -> Response:
        wants_page = scope["method"] in SAFE_METHODS and "text/html" in Headers(scope=scope).get("accept", "")
        if error.problem.status == 401 and wants_page:
            query = f"?{scope['query_string'].decode('ascii', 'replace')}" if scope.get("query_string") else ""
            return RedirectResponse(f"{LOGIN}?next={quote(scope['path'] + query, safe='')}", 303, headers={"Cache-Control": "no-store"})
        shape = self._shapes.get(scope["path"].split("/", 2)[1])
        return shape(error.problem, error.headers or {}) if shape else respond(scope, error)


def _check(principal: Principal | None, need: Need | None) -> None:
    """`need` is None where there is no such route, which only callers with a key are told. Raises `ServiceError` 401 or 403."""
    if need == "public":
        return
    if principal is None:
        raise _unauthenticated("This needs an API key.")
    if need is not None and not principal.may(need):
        raise scope_missing(principal, need)


def _unauthenticated(detail: str) -> ServiceError:
    remedy = "Send it as `Authorization: Bearer gd_...`; whoever runs this service makes one with `gendistil keys create`."
    return ServiceError(401, "unauthenticated", detail, remedy=remedy, headers=_AUTHENTICATE)
