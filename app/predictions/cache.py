"""Students kept hot: the least recently used goes first when their bytes pass the limit."""

import threading
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import Future

from app.predictions.runtime import StudentRuntime


class StudentCache:
    """Safe to share between threads. A student is loaded once, however many ask for it at the same time; others are not kept waiting."""

    def __init__(self, load: Callable[[str], StudentRuntime], limit_bytes: int) -> None:
        self._load = load
        self._limit = limit_bytes
        self._lock = threading.Lock()
        self._hot: OrderedDict[str, StudentRuntime] = OrderedDict()
        self._loading: dict[str, Future[StudentRuntime]] = {}

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
            # The newest stays even if it alone is over the limit: it is about to be used.
            while len(self._hot) > 1 and sum(hot.bytes for hot in self._hot.values()) > self._limit:
                self._hot.popitem(last=False)
        future.set_result(student)
