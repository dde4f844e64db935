"""The service on a port of its own, and bytes as a hostile client sends them."""

import json
import os
import re
import socket
import subprocess
import sys
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import uvicorn
from fastapi import FastAPI

from app.http_guard import GuardedProtocol
from tests.e2e.service import ready
from tests.servers import free_port
from tests.waiting import wait_for

GUARDED = "app.http_guard:GuardedProtocol"


@contextmanager
def in_thread(app: FastAPI) -> Iterator[int]:
    """Serves the app in this process, whose settings a test can change; yields the port."""
    port = free_port()
    config = uvicorn.Config(app, host="127.0.0.1", port=port, log_level="warning", http=GuardedProtocol)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        wait_for(lambda: server.started, what="the server started")
        yield port
    finally:
        server.should_exit = True
        thread.join(60)


class Child:
    """An API process, whose memory can be looked at."""

    def __init__(self, port: int, pid: int) -> None:
        self.port, self._status, self._clear = port, Path(f"/proc/{pid}/status"), Path(f"/proc/{pid}/clear_refs")

    def forget_peak(self) -> None:
        self._clear.write_text("5")

    def bytes(self, name: str) -> int:
        """`VmRSS`: now; `VmHWM`: the most since `forget_peak`."""
        found = re.search(rf"{name}:\s+(\d+) kB", self._status.read_text())
        assert found is not None
        return int(found[1]) * 1024


@contextmanager
def in_child(folder: Path) -> Iterator[Child]:
    port, log = free_port(), folder / "api.log"
    command = [sys.executable, "-m", "uvicorn", "app.main:app", "--http", GUARDED, "--host", "127.0.0.1", "--port", str(port)]
    with log.open("wb") as output, subprocess.Popen(command, env=dict(os.environ), cwd=folder, stdout=output, stderr=output) as process:
        try:
            wait_for(lambda: process.poll() is not None or ready(f"http://127.0.0.1:{port}"), 180, log.read_text)
            assert process.poll() is None, log.read_text()
            yield Child(port, process.pid)
        finally:
            process.terminate()
            process.wait(30)


def head(call: str, *headers: str) -> bytes:
    """`call`: as in `POST /jobs`. Ends after the last header."""
    return "\r\n".join([f"{call} HTTP/1.1", "Host: localhost", *headers, "\r\n"]).encode("latin-1")


def chunked(pieces: Iterable[bytes]) -> Iterator[bytes]:
    for piece in pieces:
        yield f"{len(piece):x}\r\n".encode() + piece + b"\r\n"
    yield b"0\r\n\r\n"


def sent(port: int, pieces: Iterable[bytes], seconds: float = 60) -> tuple[int | None, bytes, int]:
    """Sends until the server answers or hangs up; the status, the body, and how many bytes it took. No status: it only hung up."""
    taken = 0
    with socket.create_connection(("127.0.0.1", port), timeout=seconds) as client:
        try:
            for piece in pieces:
                client.sendall(piece)
                taken += len(piece)
        except (BrokenPipeError, ConnectionResetError):
            pass
        return *answer_of(client), taken


def answer_of(client: socket.socket) -> tuple[int | None, bytes]:
    """The first answer, as far as it came before the connection was closed or fell silent after the whole of it."""
    received = b""
    try:
        while not _whole(received) and (piece := client.recv(65_536)):
            received += piece
    except ConnectionResetError:
        pass
    found = re.match(rb"HTTP/1\.1 (\d{3}) ", received)
    return int(found[1]) if found else None, received.partition(b"\r\n\r\n")[2]


def _whole(received: bytes) -> bool:
    before, end, body = received.partition(b"\r\n\r\n")
    length = re.search(rb"content-length: (\d+)", before.lower())
    return bool(end) and length is not None and len(body) >= int(length[1])


def type_of(body: bytes) -> str | None:
    try:
        return str(json.loads(body)["type"]).removeprefix("urn:gendistil:")
    except (ValueError, KeyError):
        return None
