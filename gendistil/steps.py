"""How a method of the client is written once for both clients: as a generator of steps, which a transport takes one by one.

A method yields a `Call` and is sent its `httpx.Response`, yields a `Save` and is sent the file's path, or yields a `Sleep`. An error
of the service is thrown into it as `GendistilError`, and so is what interrupts the caller.
"""

from collections.abc import Generator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote

import httpx
from pydantic import ValidationError

from gendistil.errors import GendistilError
from gendistil.models import Answer

AnswerT = TypeVar("AnswerT", bound=Answer)
PAGE = 20
"""Items that one request asks for."""
NO_CONTENT = 204
UPLOAD_TIMEOUT = httpx.Timeout(600.0, connect=5.0)
"""For files: the service answers once it has checked every row."""


@dataclass(frozen=True)
class Call:
    """One request. `route` is that of the OpenAPI document, with `names` for its braces; `upload` is a file that is the body.

    `answer`: what the response is read as; `many`: a page of these.
    """

    method: str
    route: str
    names: tuple[str, ...] = ()
    params: Mapping[str, Any] | None = None
    json: Any = None
    content: bytes | None = None
    upload: Path | None = None
    files: Mapping[str, tuple[str, bytes]] | None = None
    data: Mapping[str, Any] | None = None
    headers: Mapping[str, str] | None = None
    timeout: httpx.Timeout | None = None
    answer: type[Answer] | None = None
    many: bool = False

    @property
    def path(self) -> str:
        parts, names = [], iter(self.names)
        for part in self.route.split("/"):
            parts.append(quote(next(names), safe="") if part.startswith("{") else part)
        return "/".join(parts)

    @property
    def options(self) -> dict[str, Any]:
        """Of `httpx.Client.request`."""
        return {
            name: value
            for name in ("params", "json", "content", "files", "data", "headers", "timeout")
            if (value := getattr(self, name)) is not None
        }


@dataclass(frozen=True)
class Save:
    """An answer that goes into a file: under the service's name for it in the folder `to`, or as the file `to`."""

    call: Call
    to: Path


@dataclass(frozen=True)
class Sleep:
    seconds: float


Step = Call | Save | Sleep
T = TypeVar("T")
Flow = Generator[Step, Any, T]


def fetched(model: type[AnswerT], method: str, route: str, *names: str, **options: Any) -> Flow[AnswerT]:
    """Makes a call and reads its answer. `options`: of `Call`."""
    response: httpx.Response = yield Call(method, route, names, answer=model, **options)
    return _parsed(model, decoded(response), response)


def done(method: str, route: str, *names: str) -> Flow[None]:
    """Makes a call whose answer is of no interest."""
    yield Call(method, route, names)


def saved(to: Path, route: str, *names: str, **options: Any) -> Flow[Path]:
    """Makes a call and saves its answer. Returns the file."""
    path: Path = yield Save(Call("GET", route, names, **options), to)
    return path


def listed(model: type[AnswerT], route: str, *names: str, limit: int, start: str | int | None = None, **params: Any) -> Flow[list[AnswerT]]:
    """The first items of a list behind the cursor `start`, over as many pages as they take."""
    found: list[AnswerT] = []
    after = start
    while len(found) < limit:
        asked = given(limit=min(limit - len(found), PAGE), after=after, **params)
        response: httpx.Response = yield Call("GET", route, names, params=asked, answer=model, many=True)
        page = decoded(response)
        if not isinstance(page, dict) or not isinstance(page.get("items"), list):
            raise _unexpected(response, f"no list of {route.rpartition('/')[2]}")
        found += [_parsed(model, item, response) for item in page["items"]]
        after = page.get("next_after")
        if not page.get("has_more") or after is None or not page["items"]:
            break
    return found


def given(**fields: Any) -> dict[str, Any]:
    """Those that are not None."""
    return {name: value for name, value in fields.items() if value is not None}


def decoded(response: httpx.Response) -> Any:
    """The body, None if it is empty. Raises `GendistilError` if it is no JSON."""
    if response.status_code == NO_CONTENT:
        return None
    try:
        return response.json()
    except ValueError as error:
        raise _unexpected(response, "no JSON") from error


def _parsed(model: type[AnswerT], answer: Any, response: httpx.Response) -> AnswerT:
    try:
        return model.model_validate(answer)
    except ValidationError as error:
        raise _unexpected(response, f"no {model.__name__.lower()}") from error


def _unexpected(response: httpx.Response, what: str) -> GendistilError:
    return GendistilError(f"{response.request.url} answered {what}.", remedy="Is this address a gendistil service of this version?")
