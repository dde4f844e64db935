"""A route without FastAPI's machinery around it, which takes longer than a prediction does."""

from fastapi.routing import APIRoute
from starlette.requests import Request
from starlette.routing import Match
from starlette.types import Receive, Scope, Send


class DirectRoute(APIRoute):
    """Documented as any other route, but its endpoint takes the request alone and returns a response. Its path has no parameters."""

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        if scope["type"] != "http" or scope["root_path"] or self.methods is None:
            return super().matches(scope)
        if scope["path"] != self.path:
            return Match.NONE, {}
        return (Match.FULL if scope["method"] in self.methods else Match.PARTIAL), {"route": self}

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self.methods and scope["method"] not in self.methods:
            await super().handle(scope, receive, send)
            return
        response = await self.endpoint(Request(scope, receive, send))
        await response(scope, receive, send)
