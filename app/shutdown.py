"""Tells long answers that the server is about to stop: uvicorn waits for open connections, and an event stream lasts as long as its job."""

import signal
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from types import FrameType

from fastapi import FastAPI

stopping = threading.Event()
"""Set once the server has been told to stop."""


@asynccontextmanager
async def noticed_shutdown(_app: FastAPI) -> AsyncIterator[None]:
    """A lifespan that sets `stopping` on SIGINT and SIGTERM, before the server's own handlers see them."""
    stopping.clear()
    # ASGI tells an application of the end only after the last answer. Off the main thread, where no signals come, nothing is to be noticed.
    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGINT, signal.SIGTERM):
            _notice(number)
    yield


def _notice(number: signal.Signals) -> None:
    server = signal.getsignal(number)
    if not callable(server):
        return

    def handle(received: int, frame: FrameType | None) -> None:
        stopping.set()
        server(received, frame)

    signal.signal(number, handle)
