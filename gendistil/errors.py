"""What goes wrong for a caller, with what to do about it."""

from typing import Any

import httpx


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


class JobFailed(GendistilError):
    """A job that ended otherwise than `succeeded`."""


class WaitTimeout(GendistilError):
    """A job that did not end in the time the caller gave it; it runs on."""


def from_response(response: httpx.Response) -> GendistilError:
    """The error in a response with a status of 400 or more, whether or not its body is problem+json."""
    try:
        body = response.json()
    except ValueError:
        body = None
    if not isinstance(body, dict) or "detail" not in body:
        detail = f"{response.request.method} {response.request.url} was answered {response.status_code} {response.reason_phrase}."
        return GendistilError(detail, status=response.status_code, remedy="Is this address a gendistil service?")
    return GendistilError(
        str(body["detail"]),
        type=str(body.get("type", "about:blank")),
        status=response.status_code,
        remedy=body.get("remedy"),
        errors=body.get("errors"),
        errors_total=body.get("errors_total"),
    )


def from_transport(error: httpx.TransportError, base_url: str) -> GendistilError:
    """The error of a request that was never answered."""
    if isinstance(error, httpx.ConnectError):
        remedy = "Start it with 'gendistil up', or name another address with --url or GENDISTIL_URL."
        return GendistilError(f"No gendistil service answers at {base_url}.", type="urn:gendistil:unreachable", remedy=remedy)
    if isinstance(error, httpx.TimeoutException):
        return GendistilError(f"{base_url} did not answer in time.", type="urn:gendistil:timeout", remedy="Give a longer timeout.")
    return GendistilError(f"The connection to {base_url} broke: {error}.", type="urn:gendistil:unreachable", remedy="Try again.")
