"""Admission control: so much work at a time, and for the rest a quick no. A queue that grows serves nobody."""

import logging
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from app.config import Serving
from app.predictions.holdback import Holdback, Refused

logger = logging.getLogger(__name__)

RETRY_AFTER = 1
REFUSALS_PER_SECOND = 300.0
"""Beyond this rate they are held back."""
_WARN_SECONDS = 10.0


class Overloaded(Refused):
    def __init__(self, what: str, setting: str, limit: int, holdback: Holdback) -> None:
        detail = f"There is more to do than can be done now: {what}; the limit is {limit} (setting GENDISTIL_SERVING__{setting.upper()})."
        remedy = f"Try again after {RETRY_AFTER} s, or add API processes."
        super().__init__(429, "overloaded", detail, remedy=remedy, retry_after=RETRY_AFTER, holdback=holdback)


class Admission:
    """Counts what is in work or waits for it. Used from one event loop."""

    def __init__(self, limits: Serving) -> None:
        self._limits = limits
        self.requests = 0
        self.texts = 0
        self.bodies = 0
        self.body_bytes = 0
        self._usual = 0.0
        self.refused: Counter[str] = Counter()
        self._refusals = Holdback(REFUSALS_PER_SECOND)
        self._warned = float("-inf")
        self._untold = 0

    def check(self) -> None:
        """Before a request costs anything. Raises `Overloaded`: also where one of the usual size would be refused once it has been read."""
        if self.requests >= self._limits.max_requests:
            self._refuse("requests", f"{self.requests} requests are in work", "max_requests", self._limits.max_requests)
        if self.texts and self.texts + max(1, int(self._usual)) > self._limits.max_texts:
            self._refuse("texts", f"{self.texts} texts are in work", "max_texts", self._limits.max_texts)

    @contextmanager
    def admitted(self, texts: int) -> Iterator[None]:
        """Holds room for one request with so many texts. Raises `Overloaded`; alone, a request of any size is let in."""
        # Slowly up, so that a single large one among small ones changes nothing.
        self._usual += 0.1 * min(texts - self._usual, 1 + self._usual)
        self.check()
        if self.texts and self.texts + texts > self._limits.max_texts:
            self._refuse("texts", f"{self.texts} texts are in work, and these are {texts} more", "max_texts", self._limits.max_texts)
        self.requests += 1
        self.texts += texts
        try:
            yield
        finally:
            self.requests -= 1
            self.texts -= texts

    @contextmanager
    def reading(self, size: int) -> Iterator[None]:
        """Holds room for a body of so many bytes while it comes in. Slow clients are counted apart: they keep out no one but each other."""
        if self.bodies >= self._limits.max_requests:
            self._refuse("bodies", f"{self.bodies} bodies are being read", "max_requests", self._limits.max_requests)
        if self.body_bytes and self.body_bytes + size > self._limits.max_body_bytes:
            self._refuse("body_bytes", f"{self.body_bytes:,} bytes are being read", "max_body_bytes", self._limits.max_body_bytes)
        self.bodies += 1
        self.body_bytes += size
        try:
            yield
        finally:
            self.bodies -= 1
            self.body_bytes -= size

    def _refuse(self, reason: str, what: str, setting: str, limit: int) -> None:
        self.refused[reason] += 1
        self._untold += 1
        now = time.monotonic()
        if now - self._warned > _WARN_SECONDS:
            logger.warning("overloaded: %s; %s requests refused since this was last said", what, self._untold)
            self._warned, self._untold = now, 0
        raise Overloaded(what, setting, limit, self._refusals)
