"""What goes wrong for a caller, with what to do about it."""

from pathlib import Path
from typing import Any

import httpx

UNREACHABLE, TIMEOUT = "urn:gendistil:unreachable", "urn:gendistil:timeout"
PASSING = frozenset({429, 502, 503, 504})
"""Statuses that a later call may not meet."""


class GendistilError(Exception):
    """An answer of the service that is an error (problem+json, RFC 9457), or no answer at all (`status` is None).

    `type` is stable. `errors` names rows, columns or fields: `{"row", "column", "detail", "remedy"}`, each key optional.
    """

    def __init__(
        self,
        detail: str,
        *,
        type: str = "urn:gendistil:client",
        status: int | None = None,
        remedy: str | None = None,
        errors: list[dict[str, Any]] | None = None,
        errors_total: int | None = None,
    ) -> None:
        super().__init__(detail)
        self.detail = detail
        self.type = type
        self.status = status
        self.remedy = remedy
        self.errors = errors or []
        self.errors_total = errors_total if errors_total is not None else len(self.errors)

    def __str__(self) -> str:
        return f"{self.detail} {self.remedy}" if self.remedy else self.detail

    @property
    def passing(self) -> bool:
        """Whether the same call may succeed in a while: the service is away, starting or busy."""
        return self.status in PASSING or self.type in {UNREACHABLE, TIMEOUT}


class Unauthenticated(GendistilError):
    """The service asks for an API key, or does not know the one that was sent (401)."""


class Forbidden(GendistilError):
    """The API key lacks the scope for this (403)."""


class NotFound(GendistilError):
    """There is no such job, student, version, alias or dataset (404), or it was deleted (410)."""


class Refused(GendistilError):
    """What was sent cannot be used (400, 413, 415, 422); `errors` names rows or fields."""


class Conflict(GendistilError):
    """Not possible as things stand (409): still running, ended already, in use, or not made yet."""


class Unavailable(GendistilError):
    """The service does not answer, or says that it cannot now (429, 502, 503, 504, 507)."""


class JobFailed(GendistilError):
    """A job, or a bulk prediction, that ended otherwise than `succeeded`."""


class WaitTimeout(GendistilError):
    """A job that did not end in the time the caller gave it; it runs on."""


_KINDS: dict[int, type[GendistilError]] = {
    **dict.fromkeys((404, 410), NotFound),
    **dict.fromkeys((400, 413, 415, 422), Refused),
    401: Unauthenticated,
    403: Forbidden,
    409: Conflict,
    **dict.fromkeys((*PASSING, 507), Unavailable),
}


def from_response(response: httpx.Response) -> GendistilError:
    """The error in a response with a status of 400 or more, whether or not its body is problem+json."""
    try:
        body = response.json()
    except ValueError:
        body = None
    status = response.status_code
    if not isinstance(body, dict) or "detail" not in body:
        detail = f"{response.request.method} {response.request.url} was answered {status} {response.reason_phrase}."
        return GendistilError(detail, status=status, remedy="Is this address a gendistil service?")
    return _KINDS.get(status, GendistilError)(
        str(body["detail"]),
        type=str(body.get("type", "about:blank")),
        status=status,
        remedy=body.get("remedy"),
        errors=body.get("errors"),
        errors_total=body.get("errors_total"),
    )


def from_transport(error: httpx.TransportError, base_url: str) -> GendistilError:
    """The error of a request that was never answered."""
    if isinstance(error, httpx.ConnectError):
        remedy = "Start it with 'gendistil up', or name another address with --url or GENDISTIL_URL."
        return Unavailable(f"No gendistil service answers at {base_url}.", type=UNREACHABLE, remedy=remedy)
    if isinstance(error, httpx.TimeoutException):
        return Unavailable(f"{base_url} did not answer in time.", type=TIMEOUT, remedy="Try again, or give a longer timeout.")
    return Unavailable(f"The connection to {base_url} broke: {error}.", type=UNREACHABLE, remedy="Try again.")


def unreadable(path: Path, error: OSError) -> GendistilError:
    return GendistilError(f"{path} cannot be read: {error.strerror}.", remedy="Check the file's name and its permissions.")
