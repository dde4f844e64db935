"""Connections that take the steps of a method: `Connection` one after the other, `AsyncConnection` without blocking its event loop."""

import functools
import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Generic, ParamSpec, Self, TypeVar, overload
from urllib.parse import urlsplit

import anyio
import httpx

from gendistil.errors import GendistilError, from_response, from_transport, unreadable
from gendistil.steps import Call, Flow, Save, Sleep, Step

DEFAULT_URL = "http://127.0.0.1:8000"
P = ParamSpec("P")
T = TypeVar("T")


class Connection:
    """To one service. `run` is what methods are made of."""

    def __init__(self, base_url: str = DEFAULT_URL, timeout: float = 60.0, api_key: str | None = None) -> None:
        self.base_url = base_url.rstrip("/")
        self._http = httpx.Client(**_settings(self.base_url, timeout, api_key))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        self._http.close()

    def run(self, flow: Flow[T]) -> T:
        """Takes the steps of a method. Raises what it raises."""
        try:
            step = next(flow)
            while True:
                try:
                    answer = self._take(step)
                except BaseException as error:  # a Ctrl-C too: the method may have something to take back
                    step = flow.throw(error)
                else:
                    step = flow.send(answer)
        except StopIteration as ended:
            result: T = ended.value
            return result

    def _take(self, step: Step) -> Any:
        if isinstance(step, Sleep):
            return time.sleep(step.seconds)
        if isinstance(step, Save):
            return self._save(step.call, step.to)
        with _transport_errors(self.base_url):
            if step.upload is None:
                return _checked(self._http.request(step.method, step.path, **step.options))
            with _reading(step.upload), step.upload.open("rb") as content:
                return _checked(self._http.request(step.method, step.path, content=content, **step.options))

    def _save(self, call: Call, to: Path) -> Path:
        with _transport_errors(self.base_url), self._http.stream(call.method, call.path, **call.options) as response:
            if response.is_error:
                response.read()
                raise from_response(response)
            with _written(to, response) as part, part.open("wb") as file:
                file.writelines(response.iter_bytes())
            return _target(to, response)


class AsyncConnection:
    """As `Connection`, on any event loop that anyio knows."""

    def __init__(self, base_url: str = DEFAULT_URL, timeout: float = 60.0, api_key: str | None = None) -> None:
        self.base_url = base_url.rstrip("/")
        self._http = httpx.AsyncClient(**_settings(self.base_url, timeout, api_key))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self.close()

    async def close(self) -> None:
        await self._http.aclose()

    async def run(self, flow: Flow[T]) -> T:
        """Takes the steps of a method. Raises what it raises."""
        try:
            step = next(flow)
            while True:
                try:
                    answer = await self._take(step)
                except Exception as error:
                    step = flow.throw(error)
                except BaseException as error:
                    # Cancelled: what the method has to take back is still sent.
                    with anyio.CancelScope(shield=True):
                        step = flow.throw(error)
                        while True:
                            step = flow.send(await self._take(step))
                else:
                    step = flow.send(answer)
        except StopIteration as ended:
            result: T = ended.value
            return result

    async def _take(self, step: Step) -> Any:
        if isinstance(step, Sleep):
            return await anyio.sleep(step.seconds)
        if isinstance(step, Save):
            return await self._save(step.call, step.to)
        with _transport_errors(self.base_url):
            if step.upload is None:
                return _checked(await self._http.request(step.method, step.path, **step.options))
            with _reading(step.upload):
                async with await anyio.open_file(step.upload, "rb") as content:
                    return _checked(await self._http.request(step.method, step.path, content=_pieces(content), **step.options))

    async def _save(self, call: Call, to: Path) -> Path:
        with _transport_errors(self.base_url):
            async with self._http.stream(call.method, call.path, **call.options) as response:
                if response.is_error:
                    await response.aread()
                    raise from_response(response)
                with _written(to, response) as part:
                    async with await anyio.open_file(part, "wb") as file:
                        async for piece in response.aiter_bytes():
                            await file.write(piece)
                return _target(to, response)


class blocking(Generic[P, T]):
    """A method of a `Connection`, or of a part of one, made of a flow."""

    def __init__(self, flow: Callable[P, Flow[T]]) -> None:
        self.flow = flow

    @overload
    def __get__(self, owner: None, kind: type[Any]) -> Callable[P, Flow[T]]: ...
    @overload
    def __get__(self, owner: Any, kind: type[Any]) -> Callable[P, T]: ...
    def __get__(self, owner: Any, kind: type[Any]) -> Callable[P, Flow[T]] | Callable[P, T]:
        if owner is None:
            return self.flow

        @functools.wraps(self.flow)
        def method(*args: P.args, **kwargs: P.kwargs) -> T:
            result: T = owner.run(self.flow(*args, **kwargs))
            return result

        return method


class awaited(Generic[P, T]):
    """A method of an `AsyncConnection`, or of a part of one, made of a flow."""

    def __init__(self, flow: Callable[P, Flow[T]]) -> None:
        self.flow = flow

    @overload
    def __get__(self, owner: None, kind: type[Any]) -> Callable[P, Flow[T]]: ...
    @overload
    def __get__(self, owner: Any, kind: type[Any]) -> Callable[P, Awaitable[T]]: ...
    def __get__(self, owner: Any, kind: type[Any]) -> Callable[P, Flow[T]] | Callable[P, Awaitable[T]]:
        if owner is None:
            return self.flow

        @functools.wraps(self.flow)
        async def method(*args: P.args, **kwargs: P.kwargs) -> T:
            result: T = await owner.run(self.flow(*args, **kwargs))
            return result

        return method


def _settings(base_url: str, timeout: float, api_key: str | None) -> dict[str, Any]:
    # A proxy of the environment cannot reach this machine's own addresses.
    found: dict[str, Any] = {"base_url": base_url, "timeout": httpx.Timeout(timeout, connect=5.0), "trust_env": not is_own(base_url)}
    if not api_key:
        return found
    if not (api_key.isascii() and api_key.isprintable() and " " not in api_key):  # httpx would quote it in its error
        raise GendistilError("The API key has characters that none has.", remedy="Give it as it was shown, without quotes and spaces.")
    # Nobody is redirected, so it reaches no other host.
    return {**found, "headers": {"Authorization": f"Bearer {api_key}"}, "follow_redirects": False}


def is_own(url: str) -> bool:
    """Whether the address is one of this machine alone. Raises `GendistilError` if it is none of a service."""
    return origin(url)[1] in {"localhost", "127.0.0.1", "::1"}


def origin(url: str) -> tuple[str, str, int]:
    """Scheme, host and port of a service's address. Raises `GendistilError`."""
    try:
        parts = urlsplit(url)
        if parts.scheme in {"http", "https"} and parts.hostname and " " not in url:
            return parts.scheme, parts.hostname, parts.port or {"http": 80, "https": 443}[parts.scheme]
    except ValueError:  # such as an address in brackets that is not closed
        pass
    raise GendistilError(f"{url!r} is no address of a service.", remedy=f"Give one such as {DEFAULT_URL}.")


def _checked(response: httpx.Response) -> httpx.Response:
    if response.is_error:
        raise from_response(response)
    return response


@contextmanager
def _transport_errors(base_url: str) -> Iterator[None]:
    try:
        yield
    except httpx.TransportError as error:
        raise from_transport(error, base_url) from error


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise unreadable(path, error) from error


async def _pieces(file: "anyio.AsyncFile[bytes]", size: int = 1 << 20) -> AsyncIterator[bytes]:
    while piece := await file.read(size):
        yield piece


@contextmanager
def _written(to: Path, response: httpx.Response) -> Iterator[Path]:
    """A file to write into, which takes its place once it is whole."""
    target = _target(to, response)
    part = target.with_name(f"{target.name}.part")
    try:
        try:
            yield part
            part.replace(target)
        finally:
            part.unlink(missing_ok=True)
    except OSError as error:
        raise GendistilError(f"{target} cannot be written: {error.strerror}.", remedy="Check the folder and its permissions.") from error


def _target(to: Path, response: httpx.Response) -> Path:
    return to / _filename(response) if to.is_dir() else to


def _filename(response: httpx.Response) -> str:
    """The service's name for it, if that is a plain one."""
    found = re.search(r'filename="([a-z0-9][a-z0-9_.-]*\.(?:zip|csv|jsonl|html))"', response.headers.get("content-disposition", ""))
    return found[1] if found else "download"
