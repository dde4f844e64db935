"""Scores shadows on live texts, in a thread of its own: no answer waits for it."""

import logging
import queue
import random
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Protocol

from prometheus_client import Counter
from sqlalchemy import and_, select, update
from sqlalchemy.exc import SQLAlchemyError

from app.database import read_session_factory, transaction
from app.logs import QUIET
from app.ownership import every_project
from app.periodic import Away
from app.tables import Shadow, Student

logger = logging.getLogger(__name__)
WAITING_REQUESTS = 256
REQUEST_TEXTS = 64
"""Of one request at most, so that what waits stays small."""
EXCHANGE_SECONDS = 1.0


Name = tuple[str, str]
"""A student's, behind its project's."""


@dataclass(frozen=True, slots=True)
class Target:
    version: int
    key: str
    share: float


@dataclass(frozen=True, slots=True)
class Observed:
    """`seconds`: of the answering version, for these texts."""

    name: Name
    target: Target
    texts: list[str]
    labels: list[str]
    seconds: float


@dataclass(slots=True)
class Figures:
    """What has happened since the database was told last."""

    texts: int = 0
    agreed: int = 0
    dropped: int = 0
    failed: int = 0
    seconds: float = 0.0
    shadow_seconds: float = 0.0


class Labelled(Protocol):
    @property
    def label(self) -> str: ...


class ShadowScorer:
    """`score(artefact key, texts)`: the labels that this student answers with. Safe to share between threads.

    Which versions are shadows is read from the database, and figures are added there, once a second.
    """

    def __init__(self, score: Callable[[str, list[str]], list[str]]) -> None:
        self._score = score
        self._targets: dict[Name, Target] = {}
        self._queue: queue.Queue[Observed | None] = queue.Queue(WAITING_REQUESTS)
        self._figures: dict[tuple[Name, int], Figures] = {}
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        self._away = Away("what is known of shadows stays in memory")
        # For a registry to collect; of this process alone.
        self.counter = Counter(
            "gendistil_shadow_texts",
            "Texts by what became of the shadow's answer.",
            ("project", "student", "version", "outcome"),
            registry=None,
        )

    def observe(self, name: Name, version: int, texts: list[str], answers: Sequence[Labelled], seconds: float) -> None:
        """Call it after `name:version` has answered; `seconds`: what that took. Never waits."""
        target = self._targets.get(name)
        if target is None or target.version == version:
            return
        chosen = [place for place in range(len(texts)) if random.random() < target.share]
        if not chosen:
            return
        kept = chosen[:REQUEST_TEXTS]
        part = seconds * len(kept) / len(texts)
        observed = Observed(name, target, [texts[place] for place in kept], [answers[place].label for place in kept], part)
        dropped = len(chosen) - len(kept)
        try:
            self._queue.put_nowait(observed)
        except queue.Full:
            dropped += len(kept)
        if dropped:
            self._add(name, target, "dropped", Figures(dropped=dropped), dropped)

    def start(self) -> None:
        self._stopping.clear()
        self._thread = threading.Thread(target=self._run, name="shadow", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """What still waits is let go; what was counted is told."""
        self._stopping.set()
        with suppress(queue.Full):
            self._queue.put_nowait(None)  # wakes the thread
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        self._queue = queue.Queue(WAITING_REQUESTS)

    def _run(self) -> None:
        due = time.monotonic()
        while not self._stopping.is_set():
            if time.monotonic() >= due:
                self._exchange()
                due = time.monotonic() + EXCHANGE_SECONDS
            with suppress(queue.Empty):
                if (observed := self._queue.get(timeout=EXCHANGE_SECONDS)) is not None:
                    self._work(observed)
        if self._figures:
            self._exchange()

    def _work(self, observed: Observed) -> None:
        if self._targets.get(observed.name) != observed.target:
            return
        start = time.perf_counter()
        try:
            answers = self._score(observed.target.key, observed.texts)
        # Whatever is wrong with the shadow, it must end neither this thread nor the others' figures.
        except Exception:
            logger.warning("the shadow %s:%s could not be scored", observed.name[1], observed.target.version, exc_info=True, extra=QUIET)
            count = len(observed.texts)
            self._add(observed.name, observed.target, "failed", Figures(failed=count), count)
            return
        took = time.perf_counter() - start
        agreed = sum(answer == label for answer, label in zip(answers, observed.labels, strict=True))
        figures = Figures(texts=len(answers), agreed=agreed, seconds=observed.seconds, shadow_seconds=took)
        self._add(observed.name, observed.target, "agreed", figures, agreed)
        self.counter.labels(*observed.name, observed.target.version, "differed").inc(len(answers) - agreed)

    def _add(self, name: Name, target: Target, outcome: str, figures: Figures, count: int) -> None:
        self.counter.labels(*name, target.version, outcome).inc(count)
        with self._lock:
            self._merge((name, target.version), figures)

    def _merge(self, place: tuple[Name, int], more: Figures) -> None:
        known = self._figures.setdefault(place, Figures())
        for figure in Figures.__slots__:
            setattr(known, figure, getattr(known, figure) + getattr(more, figure))

    def _exchange(self) -> None:
        with self._lock:
            told, self._figures = self._figures, {}
        try:
            if told:
                with every_project(), transaction() as session:
                    for ((project, name), version), figures in sorted(told.items()):
                        more = {figure: getattr(Shadow, figure) + getattr(figures, figure) for figure in Figures.__slots__}
                        row = (Shadow.project_id == project, Shadow.name == name, Shadow.version == version)
                        session.execute(update(Shadow).where(*row).values(more))
                told = {}
            with every_project(), read_session_factory()() as session:
                served = and_(Student.project_id == Shadow.project_id, Student.name == Shadow.name, Student.version == Shadow.version)
                query = select(Shadow.project_id, Shadow.name, Shadow.version, Student.artefact_key, Shadow.share).join(Student, served)
                self._targets = {
                    (project, name): Target(version, key, share) for project, name, version, key, share in session.execute(query)
                }
            self._away(None)
        except SQLAlchemyError as error:
            self._away(error)
            with self._lock:
                for place, figures in told.items():
                    self._merge(place, figures)
