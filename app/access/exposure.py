"""Without keys the service answers on its own machine alone, unless it is told otherwise."""

import os
import sys
from collections.abc import Mapping, Sequence
from functools import lru_cache
from ipaddress import ip_address
from pathlib import Path
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from app.access.sessions import SAFE_METHODS, from_another_site
from app.errors import ServiceError, respond

REMEDY = (
    "Set GENDISTIL_KEYS=required and make a first key with `python -m app.access create --name ops --scope operator`, "
    "or GENDISTIL_KEYS=off if whoever reaches this address may do everything."
)
_BROWSERS = {b"origin", b"sec-fetch-site"}


@lru_cache(maxsize=64)
def is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ip_address(host.partition("%")[0]).is_loopback
    except ValueError:
        return False


def bound_host(arguments: Sequence[str], environment: Mapping[str, str]) -> str | None:
    """The address that this process' uvicorn was told to listen on; None for another server, a socket, or none at all."""
    command = Path(arguments[0]).name if arguments else ""
    if (
        command not in {"uvicorn", "uvicorn.exe"}
        and Path(*Path(arguments[0] if arguments else "").parts[-2:]).as_posix() != "uvicorn/__main__.py"
    ):
        return None
    host = environment.get("UVICORN_HOST", "127.0.0.1")
    for position, argument in enumerate(arguments):
        name, equals, value = argument.partition("=")
        if name in {"--uds", "--fd"}:
            return None
        if name == "--host":
            host = value if equals else next(iter(arguments[position + 1 :]), host)
    return host


def check_exposure(mode: str) -> None:
    """Ends the process if it is about to listen on a public address without keys."""
    host = bound_host(sys.argv, os.environ)
    if mode == "auto" and host is not None and not is_loopback(host):
        raise SystemExit(f"gendistil does not listen on {host!r} without API keys. {REMEDY}")


class LoopbackOnly:
    """Refuses what is not of this machine, whatever server this runs in: by another address than the loopback one, or by a web page.

    A page of another site may make a browser on this machine send a request here, either plainly or under a name of its own that it has
    let resolve to the loopback address (DNS rebinding).
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        fault = _fault(scope) if scope["type"] == "http" else None
        if fault is not None:
            error = ServiceError(
                403, "keys-required", f"Without API keys this service answers its own machine alone; {fault}.", remedy=REMEDY
            )
            await respond(scope, error)(scope, receive, send)
            return
        await self.app(scope, receive, send)


def _fault(scope: Scope) -> str | None:
    server = scope.get("server")
    # A server that tells a name or a socket's path has no address of a network.
    if server is not None and _public(server[0]):
        return "the request came to another address"
    headers = scope["headers"]
    host = next((value for name, value in headers if name == b"host"), b"")
    if _foreign(host):
        return "the request is for another host"
    # Few programs send these, so that few requests are looked at more closely.
    if scope["method"] not in SAFE_METHODS and any(name in _BROWSERS for name, _ in headers) and from_another_site(Headers(scope=scope)):
        return "another site's page sent the request"
    return None


@lru_cache(maxsize=64)
def _public(host: str) -> bool:
    try:
        ip_address(host.partition("%")[0])
    except ValueError:
        return False
    return not is_loopback(host)


@lru_cache(maxsize=64)
def _foreign(host: bytes) -> bool:
    """A name without a dot is of this machine or of its own network, and nobody else can have it."""
    try:
        name = urlsplit(f"//{host.decode('latin-1')}").hostname or "localhost"
    except ValueError:  # brackets that hold no address
        return True
    return not (is_loopback(name) or name.endswith(".localhost") or ("." not in name and ":" not in name))
