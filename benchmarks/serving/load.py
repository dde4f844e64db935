"""A load generator for HTTP/1.1 with keep-alive, small enough to outrun the server: run it in a process of its own.

Closed loop: each connection sends its next request when it has the answer to the last. Open loop: requests fall due at a fixed rate,
whatever the answers do, as those of many independent callers would; one that finds no idle connection is counted as unsent.
"""

import asyncio
import itertools
import pickle
import subprocess
import sys
import time
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

import numpy as np
import uvloop

_HEAD_END = b"\r\n\r\n"
_LENGTH = b"content-length: "
_TICK_SECONDS = 0.001
_PROGRAM = """
import pickle, sys
from benchmarks.serving.load import run
sys.stdout.buffer.write(pickle.dumps(run(pickle.load(sys.stdin.buffer))))
"""


@dataclass(frozen=True)
class Load:
    """What is sent: `bodies` in turn, as POST of JSON, or GET where a body is empty. `rate`: requests a second; None: closed loop."""

    port: int
    path: str
    bodies: list[bytes]
    connections: int
    seconds: float
    rate: float | None = None
    keep_answers: bool = False
    """Count distinct bodies of answers; only where they are few."""
    key: str = ""
    """An API key."""


@dataclass
class Outcome:
    """`latencies`: seconds from write to complete answer, by status. `by_second`: answers with 200 in each second."""

    seconds: float = 0.0
    latencies: dict[int, list[float]] = field(default_factory=dict)
    by_second: Counter[int] = field(default_factory=Counter)
    answers: Counter[bytes] = field(default_factory=Counter)
    failed: int = 0
    """Connections that ended with a request open."""
    unsent: int = 0

    def count(self, status: int = 200) -> int:
        return len(self.latencies.get(status, []))

    def rate(self, status: int = 200) -> float:
        """Answers a second."""
        return self.count(status) / self.seconds

    def percentile(self, share: float, status: int = 200) -> float:
        """Seconds; NaN if nothing had this status."""
        found = self.latencies.get(status)
        return float(np.percentile(found, share)) if found else float("nan")


def run(load: Load) -> Outcome:
    """Sends for `load.seconds`; answers that come later are not counted. Raises `OSError` if nothing listens."""
    return uvloop.run(_run(load))


async def _run(load: Load) -> Outcome:
    loop = asyncio.get_running_loop()
    outcome = Outcome()
    requests = itertools.cycle([_request(load, body) for body in load.bodies])
    idle: deque[_Connection] = deque()
    connections: list[_Connection] = []
    for _ in range(load.connections):
        transport, made = await loop.create_connection(partial(_Connection, outcome, load.keep_answers), "127.0.0.1", load.port)
        made.transport = transport
        connections.append(made)
    began = time.perf_counter()
    for connection in connections:
        connection.began = began
        connection.done = idle.append if load.rate else lambda ready: ready.send(next(requests))
    if load.rate is None:
        for connection in connections:
            connection.send(next(requests))
        await asyncio.sleep(load.seconds)
    else:
        idle.extend(connections)
        await _open_loop(load, outcome, idle, requests)
    outcome.seconds = time.perf_counter() - began
    for connection in connections:
        connection.close()
    return outcome


async def _open_loop(load: Load, outcome: Outcome, idle: "deque[_Connection]", requests: "itertools.cycle[bytes]") -> None:
    assert load.rate is not None
    began = time.perf_counter()
    due = 0
    while (elapsed := time.perf_counter() - began) < load.seconds:
        now_due = int(elapsed * load.rate)
        for _ in range(now_due - due):
            if idle:
                idle.popleft().send(next(requests))
            else:
                outcome.unsent += 1
        due = now_due
        await asyncio.sleep(_TICK_SECONDS)


def _request(load: Load, body: bytes) -> bytes:
    common = "Host: localhost\r\n" + (f"Authorization: Bearer {load.key}\r\n" if load.key else "")
    if not body:
        return f"GET {load.path} HTTP/1.1\r\n{common}\r\n".encode()
    head = f"POST {load.path} HTTP/1.1\r\n{common}Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


class _Connection(asyncio.Protocol):
    """One request at a time. It reads only what our server writes: a status line, Content-Length, a body."""

    transport: asyncio.Transport

    def __init__(self, outcome: Outcome, keep_answers: bool) -> None:
        self.outcome, self.keep_answers = outcome, keep_answers
        self.buffer = b""
        self.waiting = self.closing = False
        self.sent = self.began = 0.0
        self.done: Callable[[_Connection], None] = lambda _connection: None

    def send(self, request: bytes) -> None:
        self.waiting = True
        self.sent = time.perf_counter()
        self.transport.write(request)

    def close(self) -> None:
        self.closing = True
        self.transport.abort()

    def data_received(self, data: bytes) -> None:
        self.buffer = self.buffer + data if self.buffer else data
        head = self.buffer.find(_HEAD_END)
        if head < 0:
            return
        start = self.buffer.find(_LENGTH, 0, head)
        length = int(self.buffer[start + len(_LENGTH) : self.buffer.find(b"\r\n", start)]) if start >= 0 else 0
        end = head + len(_HEAD_END) + length
        if len(self.buffer) < end or self.closing:
            return
        now = time.perf_counter()
        status = int(self.buffer[9:12])
        if self.keep_answers:
            self.outcome.answers[self.buffer[head + len(_HEAD_END) : end]] += 1
        self.buffer, self.waiting = self.buffer[end:], False
        self.outcome.latencies.setdefault(status, []).append(now - self.sent)
        if status == 200:
            self.outcome.by_second[int(now - self.began)] += 1
        self.done(self)

    def connection_lost(self, exc: Exception | None) -> None:
        if self.waiting and not self.closing:
            self.outcome.failed += 1


def run_apart(load: Load) -> Outcome:
    """`run` in a fresh process. Raises `RuntimeError` if it fails."""
    done = subprocess.run([sys.executable, "-c", _PROGRAM], input=pickle.dumps(load), capture_output=True, check=False)
    if done.returncode:
        raise RuntimeError(f"the load generator failed:\n{done.stderr.decode()[-2000:]}")
    outcome: Outcome = pickle.loads(done.stdout)
    return outcome
