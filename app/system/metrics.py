"""Prometheus metrics: requests by route template, jobs and stages by status."""

import time

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from sqlalchemy import func, select
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.contracts.stages import JobStatus, Stage, StageStatus
from app.tables import Job, StageRun

UNMATCHED = "unmatched"


class Metrics:
    """One registry for each application, so that two in one process do not clash."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        labels = ("method", "route")
        self.requests = Counter("gendistil_http_requests", "Requests answered.", (*labels, "status"), registry=self.registry)
        self.seconds = Histogram("gendistil_http_request_seconds", "Until the answer's headers were sent.", labels, registry=self.registry)
        self.jobs = Gauge("gendistil_jobs", "Jobs by status.", ("status",), registry=self.registry)
        self.stages = Gauge(
            "gendistil_stage_runs",
            "Stage runs by stage and status; queued is the queue's depth.",
            ("stage", "status"),
            registry=self.registry,
        )
        self.database_up = Gauge("gendistil_database_up", "Whether the database answered this scrape.", registry=self.registry)

    def render(self, session: Session) -> bytes:
        """The exposition text, with fresh figures from the database; without them if it does not answer."""
        try:
            jobs = dict(row for row in session.execute(select(Job.status, func.count()).group_by(Job.status)))
            query = select(StageRun.stage, StageRun.status, func.count()).group_by(StageRun.stage, StageRun.status)
            stages = {(stage, status): count for stage, status, count in session.execute(query)}
        except SQLAlchemyError:
            self.database_up.set(0)
            self.jobs.clear()
            self.stages.clear()
        else:
            self.database_up.set(1)
            for job_status in JobStatus:
                self.jobs.labels(job_status).set(jobs.get(job_status, 0))
            for stage in Stage:
                for status in StageStatus:
                    self.stages.labels(stage, status).set(stages.get((stage, status), 0))
        return generate_latest(self.registry)


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
            route = getattr(scope.get("route"), "path", UNMATCHED)
            method = scope["method"] if route != UNMATCHED else UNMATCHED  # a caller may make up methods
            self.metrics.requests.labels(method, route, status).inc()
            self.metrics.seconds.labels(method, route).observe(time.perf_counter() - began)

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
