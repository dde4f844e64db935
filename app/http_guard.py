"""uvicorn's HTTP protocol with bounds on the part before the body, which uvicorn itself reads for as long, and as much of, as it comes.

`uvicorn app.main:app --http app.http_guard:GuardedProtocol`. A proxy in front has such bounds too; a service that is reached directly
needs its own: else one client fills the memory with a header that never ends, and a few thousand hold all connections without a word.
"""

import asyncio

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

MAX_HEAD_BYTES = 65_536
"""Of the request line and all headers, as h11 and nginx have it by default."""
MAX_HEADERS = 256
HEAD_SECONDS = 20.0
_TOO_LARGE = b"HTTP/1.1 431 Request Header Fields Too Large\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
_TOO_SLOW = b"HTTP/1.1 408 Request Timeout\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"


class GuardedProtocol(HttpToolsProtocol):
    """Ends a connection whose head is too large with 431, and one whose head does not come in time with 408."""

    _in_head = True
    _head_bytes = 0
    _head_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # asyncio, which calls it, says BaseTransport
        super().connection_made(transport)
        self._head_timer = self.loop.call_later(HEAD_SECONDS, self._too_slow)

    def connection_lost(self, exc: Exception | None) -> None:
        self._settled()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._in_head:
            self._head_bytes += len(data)
            # A piece may hold the end of the head and much of the body; it is no larger than the loop reads at once.
            if self._head_bytes - len(data) > MAX_HEAD_BYTES:
                self._end(_TOO_LARGE)
                return
        super().data_received(data)
        # Only here: nearly every head is whole by now, and needs no timer.
        if self._in_head and self._head_bytes and self._head_timer is None and not self.transport.is_closing():
            self._head_timer = self.loop.call_later(HEAD_SECONDS, self._too_slow)

    def on_message_begin(self) -> None:
        super().on_message_begin()
        # It may have begun in the same piece as the last one ended.
        self._in_head, self._head_bytes = True, max(self._head_bytes, 1)

    def on_header(self, name: bytes, value: bytes) -> None:
        super().on_header(name, value)
        if len(self.headers) > MAX_HEADERS:
            self._end(_TOO_LARGE)
            raise ValueError("too many headers")  # ends the parser, else the request would be carried out

    def on_headers_complete(self) -> None:
        self._settled()
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        super().on_message_complete()
        self._in_head, self._head_bytes = True, 0

    def _settled(self) -> None:
        self._in_head, self._head_bytes = False, 0
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _too_slow(self) -> None:
        self._end(_TOO_SLOW if self._head_bytes else b"")  # a browser opens connections that it may need, and has asked nothing yet

    def _end(self, answer: bytes) -> None:
        self._settled()
        if not self.transport.is_closing():
            if answer:
                self.transport.write(answer)
            self.transport.close()
