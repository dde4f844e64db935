"""Students kept hot: the least recently used goes first when their bytes pass the limit."""

import threading
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass

from app.predictions.runtime import StudentRuntime


@dataclass(frozen=True, slots=True)
class CacheFigures:
    """Counts since the start, and what is held now."""

    hits: int
    misses: int
    evictions: int
    students: int
    bytes: int


class StudentCache:
    """Safe to share between threads. A student is loaded once, however many ask for it at the same time; others are not kept waiting."""

    def __init__(self, load: Callable[[str], StudentRuntime], limit_bytes: int) -> None:
        self._load = load
        self._limit = limit_bytes
        self._lock = threading.Lock()
        self._hot: OrderedDict[str, StudentRuntime] = OrderedDict()
        self._loading: dict[str, Future[StudentRuntime]] = {}
        self._bytes = self._hits = self._misses = self._evictions = 0

    def peek(self, key: str) -> StudentRuntime | None:
        """The student if it is hot, which makes it the most recently used. Never waits for a load."""
        with self._lock:
            student = self._hot.get(key)
            if student is None:
                self._misses += 1
            else:
                self._hits += 1
                self._hot.move_to_end(key)
            return student

    def get(self, key: str) -> StudentRuntime:
        """The student with this artefact key. Raises what loading raises; the next call tries again."""
        with self._lock:
            if (student := self._hot.get(key)) is not None:
                self._hot.move_to_end(key)
                return student
            future = self._loading.get(key)
            is_first = future is None
            if future is None:
                future = self._loading[key] = Future()
        if is_first:
            self._fill(key, future)
        return future.result()

    def keys(self) -> list[str]:
        """Of the hot students, the least recently used first."""
        with self._lock:
            return list(self._hot)

    def figures(self) -> CacheFigures:
        with self._lock:
            return CacheFigures(self._hits, self._misses, self._evictions, len(self._hot), self._bytes)

    def _fill(self, key: str, future: Future[StudentRuntime]) -> None:
        try:
            student = self._load(key)
        except BaseException as error:  # those that wait must hear of any end, or they would wait for ever
            with self._lock:
                del self._loading[key]
            future.set_exception(error)
            return
        with self._lock:
            del self._loading[key]
            self._hot[key] = student
            self._bytes += student.bytes
            # The newest stays even if it alone is over the limit: it is about to be used.
            while len(self._hot) > 1 and self._bytes > self._limit:
                self._bytes -= self._hot.popitem(last=False)[1].bytes
                self._evictions += 1
        future.set_result(student)
