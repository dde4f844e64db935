"""Bounds on every request's body that no route has to think of: how large it may become, and how slowly it may arrive."""

import asyncio
import time

from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.config import Limits
from app.datasets.raw import limit_text
from app.datasets.uploads import declared_bytes

_OWN = frozenset({"/predict"})
"""Paths whose bodies have stricter bounds already, and where each microsecond counts."""
_UPLOADS = frozenset({"/datasets", "/jobs", "/students/import", "/v1/files"})
_TEXTS = ("/v1/chat/", "/v2/", "/hf/")
_FILES = "/predictions"
_CLOSED = {"Connection": "close"}


class BodyLimitMiddleware:
    """Ends a body that is larger than any upload may be with 413, and one that comes too slowly with 408.

    A body has `body_grace_seconds`, and as long as its bytes take at `body_min_rate`: so a large file has its time, and one byte a minute
    has none. A route with a limit of its own finds it passed first.
    """

    def __init__(self, app: ASGIApp, limits: Limits) -> None:
        self.app, self.limits = app, limits

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] in _OWN:
            await self.app(scope, receive, send)
            return
        name = _limit_of(scope["path"])
        most: int = getattr(self.limits, name)
        declared = declared_bytes(scope) or 0
        began, size, reading, answering = time.monotonic(), 0, True, False

        async def bounded() -> Message:
            nonlocal size, reading
            if not reading:
                return await receive()  # of a stream, to hear that its reader has gone
            if size > most or declared > most:
                raise HTTPException(413, f"The body is too large; {limit_text(name, most)}, in bytes.", _CLOSED)
            seconds = self.limits.body_grace_seconds + size / self.limits.body_min_rate
            try:
                async with asyncio.timeout(seconds - (time.monotonic() - began)):
                    message = await receive()
            except TimeoutError:
                if answering:  # there is no status left to say it with
                    return {"type": "http.disconnect"}
                detail = f"Only {size:,} bytes of the body came within {seconds:g} s (setting GENDISTIL_LIMITS__BODY_GRACE_SECONDS)."
                raise HTTPException(408, detail, _CLOSED) from None
            reading = message.get("more_body", False)
            size += len(message.get("body", b""))
            return message

        async def noted(message: Message) -> None:
            nonlocal answering
            answering = True
            await send(message)

        await self.app(scope, bounded, noted)


def _limit_of(path: str) -> str:
    """The setting. A few bytes of JSON may become a hundred in memory, so that routes for settings get less than those for rows."""
    if path == _FILES:
        return "bulk_max_bytes"
    return "max_upload_bytes" if path in _UPLOADS or path.startswith(_TEXTS) else "json_max_bytes"
