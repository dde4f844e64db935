"""What no client library sends: heads that never end, bodies that creep, lengths that lie, streams that nobody reads."""

import socket
import time
from collections.abc import Callable, Iterable, Iterator

import pytest
from fastapi import FastAPI

from app import http_guard
from tests.hostile.conftest import Service
from tests.hostile.wire import answer_of, chunked, head, in_thread, sent, type_of

MANY = [f"X-{number}: a" for number in range(1000)]
JSON = "Content-Type: application/json"
CHUNKED = "Transfer-Encoding: chunked"
Pieces = Callable[[], Iterable[bytes]]


@pytest.fixture(scope="module")
def port(service: Service) -> Iterator[int]:
    assert isinstance(service.api.app, FastAPI)
    with in_thread(service.api.app) as port:
        yield port


def creeping() -> Iterator[bytes]:
    """A byte, and a while later another."""
    yield head("POST /datasets", JSON, "Content-Length: 1000")
    while True:
        time.sleep(0.05)
        yield b"["


def creeping_head() -> Iterator[bytes]:
    yield b"GET /healthz HTTP/1.1\r\nX: "
    while True:
        time.sleep(0.05)
        yield b"a"


def endless(call: str, *headers: str) -> Pieces:
    return lambda: [head(call, CHUNKED, *headers), *chunked(b" " * 65_536 for _ in range(10_000))]


def whole(*parts: bytes) -> Pieces:
    return lambda: parts


@pytest.mark.parametrize(
    ("pieces", "status", "type"),
    [
        pytest.param(whole(head("GET /healthz", "X: " + "a" * 20_000)), 200, None, id="a header of 20 kB is one"),
        pytest.param(lambda: [b"GET /healthz HTTP/1.1\r\nX: ", *[b"a" * 65_536] * 1000], 431, None, id="a header that never ends"),
        pytest.param(lambda: [b"GET /", *[b"a" * 65_536] * 1000], 431, None, id="an address that never ends"),
        pytest.param(lambda: [b"GET /healthz HTTP/1.1\r\n", *[b"X: a\r\n" * 10_000] * 1000], 431, None, id="headers that never end"),
        pytest.param(whole(head("GET /healthz", *MANY)), 431, None, id="a thousand headers"),
        pytest.param(creeping_head, 408, None, id="a head, byte by byte"),
        pytest.param(creeping, 408, "body-timeout", id="a body, byte by byte"),
        pytest.param(whole(head("POST /datasets", JSON, "Content-Length: 10")), 408, "body-timeout", id="a body that does not come"),
        pytest.param(whole(head("POST /webhooks", JSON, "Content-Length: 10"), b"{"), 408, "body-timeout", id="half a body of settings"),
        pytest.param(whole(head("POST /predict", JSON, "Content-Length: 10"), b"{"), 408, "body-timeout", id="half a body of texts"),
        pytest.param(endless("POST /webhooks", JSON), 413, "upload-too-large", id="a body of settings without a length"),
        pytest.param(endless("POST /datasets", JSON), 413, "upload-too-large", id="a body of rows without a length"),
        pytest.param(endless("POST /students/import"), 413, "upload-too-large", id="a bundle without a length"),
        pytest.param(endless("PUT /students/triage/aliases/a", JSON), 413, "upload-too-large", id="an alias without a length"),
        pytest.param(endless("POST /predict", JSON), 413, "upload-too-large", id="texts without a length"),
        pytest.param(
            whole(head("POST /webhooks", JSON, "Content-Length: 99999999999")), 413, "upload-too-large", id="a length beyond the limit"
        ),
        pytest.param(whole(head("POST /jobs", "Content-Length: -1")), 400, None, id="a negative length"),
        pytest.param(whole(head("POST /jobs", f"Content-Length: {2**64}")), 400, None, id="a length beyond 64 bits"),
        pytest.param(whole(head("POST /jobs", "Content-Length: 1", "Content-Length: 2"), b"{}"), 400, None, id="two lengths"),
        pytest.param(whole(head("POST /jobs", "Content-Length: 2", CHUNKED), b"0\r\n\r\n"), 400, None, id="a length and chunks"),
        pytest.param(
            whole(head("POST /jobs", "Transfer-Encoding: gzip, chunked"), b"0\r\n\r\n"), 400, "malformed-json", id="compressed chunks"
        ),
        pytest.param(whole(head("POST /jobs", CHUNKED), b"zz\r\n"), 400, None, id="a chunk without a length"),
        pytest.param(whole(head("POST /jobs", CHUNKED), b"f" * 100), 400, None, id="a chunk of more than 64 bits"),
        pytest.param(whole(b"GET /healthz HTTP/1.1\r\nHost: a\r\nX : b\r\n\r\n"), 400, None, id="a space before the colon"),
        pytest.param(whole(b"GET /healthz HTTP/1.1\r\nHost: a\r\nX: a\0b\r\n\r\n"), 400, None, id="a NUL in a header"),
        pytest.param(whole(b"GET /\xff HTTP/1.1\r\nHost: a\r\n\r\n"), 400, None, id="an address that is no ASCII"),
        pytest.param(whole(b"GET /healthz HTTP/9.9\r\n\r\n"), 400, None, id="a version of HTTP that there is not"),
        pytest.param(whole(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"), 400, None, id="TLS"),
        pytest.param(whole(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), 400, None, id="HTTP/2"),
        pytest.param(whole(head("CONNECT 127.0.0.1:6379")), 400, None, id="a proxy's method"),
        pytest.param(whole(head("GET http://evil.test/healthz")), 200, None, id="an address with another host is the path alone"),
        pytest.param(whole(head("GET /healthz") * 1000), 200, None, id="a thousand requests at once"),
    ],
)
def test_wire(port: int, service: Service, monkeypatch: pytest.MonkeyPatch, pieces: Pieces, status: int | None, type: str | None) -> None:
    monkeypatch.setattr(http_guard, "HEAD_SECONDS", 1.0)
    monkeypatch.setattr(service.settings.limits, "body_grace_seconds", 1.0)
    monkeypatch.setattr(service.settings.limits, "body_min_rate", 1e6)
    monkeypatch.setattr(service.settings.serving, "body_seconds", 5.0)
    found, body, taken = sent(port, pieces())
    assert (found, type_of(body)) == (status, type), body[:300]
    assert taken < 70_000_000  # it hangs up rather than take all that would come
    assert sent(port, [head("GET /healthz")])[0] == 200


def test_connections_that_say_nothing_are_closed(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_guard, "HEAD_SECONDS", 0.5)
    silent = [socket.create_connection(("127.0.0.1", port), timeout=60) for _ in range(50)]
    assert [answer_of(client) for client in silent] == [(None, b"")] * 50
    for client in silent:
        client.close()


def test_half_a_head_behind_a_whole_request_has_its_time_and_no_more(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_guard, "HEAD_SECONDS", 0.5)
    with socket.create_connection(("127.0.0.1", port), timeout=60) as client:
        client.sendall(head("GET /healthz") + b"GET /heal")
        answers = b"".join(iter(lambda: client.recv(65536), b""))
    assert answers.startswith(b"HTTP/1.1 200")
    assert answers.count(b"HTTP/1.1 408") == 1


def test_a_stream_that_nobody_reads_holds_up_no_one(port: int, service: Service) -> None:
    stream = head(f"GET /jobs/{service.known['job']}/events", "Accept: text/event-stream")
    readers = [socket.create_connection(("127.0.0.1", port), timeout=60) for _ in range(100)]
    for client in readers:
        client.sendall(stream)
    assert sent(port, [head("GET /jobs")])[0] == 200
    for client in readers:
        client.close()
    assert sent(port, [head("GET /jobs")])[0] == 200
