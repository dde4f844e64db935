"""Prometheus metrics: requests by route template, and what the rows tell of jobs and stages."""

import platform
import time
from importlib.metadata import version

from prometheus_client import CollectorRegistry, Counter, Histogram, Info, ProcessCollector, generate_latest
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.storage import BlobStore
from app.system.history import History
from app.system.middleware import route_of
from app.system.snapshot import Families, Snapshot, database_families, reachability, store_families


class Metrics:
    """One registry for each application, so that two in one process do not clash."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        labels = ("method", "route")
        self.requests = Counter("gendistil_http_requests", "Requests answered.", (*labels, "status"), registry=self.registry)
        self.seconds = Histogram("gendistil_http_request_seconds", "Until the answer's headers were sent.", labels, registry=self.registry)
        self._series: dict[tuple[str, str, int], tuple[Counter, Histogram]] = {}
        self.history = History(self.registry)
        build = Info("gendistil_build", "Versions of gendistil and Python.", registry=self.registry)
        build.info({"version": version("gendistil"), "python": platform.python_version()})
        ProcessCollector(registry=self.registry)

    def series(self, method: str, route: str, status: int) -> tuple[Counter, Histogram]:
        """Those of one kind of answer, kept: to look them up takes longer than to count."""
        key = method, route, status
        if (found := self._series.get(key)) is None:
            found = self._series[key] = self.requests.labels(*key), self.seconds.labels(method, route)
        return found

    def render(self, session: Session, storage: BlobStore) -> bytes:
        """The exposition text, with fresh figures from the database; without them if it does not answer."""
        families: Families
        try:
            self.history.catch_up(session)
            families = [*database_families(session), reachability(True)]
        except SQLAlchemyError:
            families = [reachability(False)]
        now = CollectorRegistry()
        now.register(Snapshot([*families, *store_families(storage)]))
        return generate_latest(self.registry) + generate_latest(now)


class MetricsMiddleware:
    """Counts and times requests, by the route's template and not by the path: ids would make a series each."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self.app = app
        self.metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        began = time.perf_counter()
        answered = False

        def record(status: int) -> None:
            nonlocal answered
            answered = True
            requests, seconds = self.metrics.series(*route_of(scope), status)
            requests.inc()
            seconds.observe(time.perf_counter() - began)

        async def observed(message: Message) -> None:
            if message["type"] == "http.response.start":
                record(message["status"])
            await send(message)

        try:
            await self.app(scope, receive, observed)
        except BaseException:
            if not answered:
                record(500)
            raise
