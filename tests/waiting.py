"""Calls at the same moment, and waiting for what other threads and processes do."""

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

T = TypeVar("T")


def together(*calls: Callable[[], T]) -> list[T]:
    """Runs the calls at the same moment, each in a thread of its own; what they return, in their order."""
    barrier = threading.Barrier(len(calls))

    def start(call: Callable[[], T]) -> T:
        barrier.wait()
        return call()

    with ThreadPoolExecutor(len(calls)) as pool:
        return list(pool.map(start, calls))


@contextmanager
def meanwhile(act: Callable[[], object]) -> Iterator[None]:
    """Acts again and again, in another thread, until the block ends; what it raises there fails the test."""
    stop = threading.Event()

    def go_on() -> None:
        while not stop.is_set():
            act()

    with ThreadPoolExecutor(1) as pool:
        acting = pool.submit(go_on)
        try:
            yield
        finally:
            stop.set()
        acting.result()


def wait_for(condition: Callable[[], T], seconds: float = 60, what: str | Callable[[], str] = "", every: float = 0.05) -> T:
    """The first true value of `condition`, asked each `every` seconds. Fails after `seconds`, and says then `what` did not come about."""
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, f"not within {seconds} s: {what if isinstance(what, str) else what()}"
        time.sleep(every)
    return found
