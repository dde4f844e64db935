"""The HTTP API. `uvicorn app.main:app`"""

import gc
import logging
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import version

from anyio import CapacityLimiter
from fastapi import Depends, FastAPI, Request
from fastapi.responses import JSONResponse
from sqlalchemy.exc import OperationalError

from app.access.exposure import LoopbackOnly, check_exposure
from app.access.keyring import Keyring
from app.access.middleware import AccessMiddleware, Shape
from app.access.project_routes import router as projects
from app.access.routes import router as access
from app.access.rules import Rules
from app.access.sessions import Sessions, session_secret
from app.bulk.routes import router as bulk
from app.bundles.routes import router as bundles
from app.config import Settings, get_settings
from app.datasets.routes import router as datasets
from app.errors import ServiceError, database_unavailable, install_handlers, respond
from app.jobs.routes import router as jobs
from app.logs import QUIET, configure_logging
from app.maintenance.routes import router as maintenance
from app.openapi import DescribedApi, problems
from app.predictions.cache import StudentCache
from app.predictions.predictor import Predictor, names_followed
from app.predictions.routes import router as predictions
from app.predictions.runtime import StudentRuntime, load_student
from app.protocols.errors import InferenceRoute, ProtocolRoute
from app.protocols.hugging_face import router as hugging_face
from app.protocols.openai.errors import OpenAiRoute
from app.protocols.openai.routes import router as openai
from app.protocols.routes import router as inference_v2
from app.shutdown import noticed_shutdown
from app.storage import STORAGE_AWAY, get_storage
from app.students.routes import router as students
from app.system.bodies import BodyLimitMiddleware
from app.system.headers import secured
from app.system.metrics import Metrics, MetricsMiddleware
from app.system.middleware import REQUEST_ID, AccessLogMiddleware, RequestIdMiddleware
from app.system.routes import router as system
from app.web.routes import router as web
from app.webhooks.messages import messages
from app.webhooks.routes import router as webhooks

logger = logging.getLogger(__name__)

SWITCH_SECONDS = 0.0005
"""How long a thread that predicts keeps the interpreter's lock while the event loop waits for it. A request gives it away for each system
call, so that with Python's 5 ms lists of texts keep single ones, and refusals, waiting for many times what they take."""
_SHAPES: dict[str, Shape] = {"v1": OpenAiRoute.answer, "v2": InferenceRoute.answer, "hf": ProtocolRoute.answer}
DESCRIPTION = "Turns a small labelled text dataset into a compact classifier, and serves it. Errors are problem+json (RFC 9457)."


def create_app() -> FastAPI:
    """The application, with its own metrics and its own cache of students. Connects to nothing yet."""
    app = DescribedApi(
        title="gendistil",
        version=version("gendistil"),
        description=DESCRIPTION,
        responses=problems(_422="The request is not valid.", _503="The database or the blob store does not answer."),
        webhooks=messages,
        lifespan=_lifespan,
        # FastAPI's own pages load their scripts from another host; app/web has one that does not.
        docs_url=None,
        redoc_url=None,
        # It would lead to whatever host the request names.
        redirect_slashes=False,
    )
    app.state.metrics = Metrics()
    app.state.bulk_checks = CapacityLimiter(2)
    settings = get_settings()
    _install_access(app, settings)
    app.state.students = StudentCache(_load_student, settings.student_cache_bytes)
    app.state.predictor = Predictor(settings.serving, app.state.students, len(os.sched_getaffinity(0)), settings.redis_url)
    app.state.published = app.state.predictor.resolver.notice
    app.state.metrics.registry.register(app.state.predictor.telemetry)
    app.state.metrics.registry.register(app.state.predictor.shadows.counter)
    app.state.metrics.registry.register(app.state.predictor.cascade.texts)
    app.state.metrics.registry.register(app.state.predictor.cascade.seconds)
    # First and not included, because routes are tried in turn, an included router twice, and none is called as often.
    app.router.routes.extend(predictions.routes)
    followed = [Depends(names_followed, scope="function")]
    for router in (datasets, jobs):
        app.include_router(router)
    for router in (students, bundles):
        app.include_router(router, dependencies=followed)
    for router in (access, projects, bulk, webhooks, inference_v2, hugging_face, openai, maintenance, system, web):
        app.include_router(router)
    install_handlers(app)
    _install_fallbacks(app)
    app.add_middleware(BodyLimitMiddleware, limits=settings.limits)
    app.add_middleware(MetricsMiddleware, metrics=app.state.metrics)
    app.add_middleware(AccessLogMiddleware)
    app.add_middleware(RequestIdMiddleware)
    return app


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    sys.setswitchinterval(SWITCH_SECONDS)
    predictor: Predictor = app.state.predictor
    keyring: Keyring | None = app.state.keyring
    if keyring is not None:
        keyring.start()
    predictor.resolver.start()
    predictor.shadows.start()
    predictor.traffic.start()
    async with noticed_shutdown(app):
        try:
            yield
        finally:
            predictor.close()
            await predictor.cascade.close()
            await predictor.rates.close()
            if keyring is not None:
                keyring.stop()


def _install_access(app: FastAPI, settings: Settings) -> None:
    """The innermost middleware, so that refusals too are counted, logged and have a request id."""
    app.state.keyring = app.state.sessions = None
    if settings.keys == "required":
        app.state.keyring = Keyring(settings.serving.refresh_seconds)
        app.state.sessions = Sessions(session_secret(settings.session_secret.get_secret_value(), settings.data_dir))
        app.add_middleware(
            AccessMiddleware,
            rules=lambda: Rules(app.router.routes),
            keyring=app.state.keyring,
            sessions=app.state.sessions,
            shapes=_SHAPES,
        )
    elif settings.keys == "auto":
        app.add_middleware(LoopbackOnly)


def _load_student(key: str) -> StudentRuntime:
    return load_student(get_storage(), key)


def _install_fallbacks(app: FastAPI) -> None:
    """What no service foresaw also leaves as problem+json, without its particulars, which are in the log under the request's id."""

    @app.exception_handler(OperationalError)
    async def database_away(request: Request, error: OperationalError) -> JSONResponse:
        logger.error("the database failed: %s", error)
        return _answer(request, database_unavailable())

    async def storage_away(request: Request, error: Exception) -> JSONResponse:
        logger.error("the blob store failed: %s", error)
        detail, remedy = "The blob store does not answer.", "Try again in a few seconds."
        return _answer(request, ServiceError(503, "storage-unavailable", detail, remedy=remedy, headers={"Retry-After": "5"}))

    for kind in STORAGE_AWAY:
        app.add_exception_handler(kind, storage_away)

    @app.exception_handler(Exception)
    async def unforeseen(request: Request, error: Exception) -> JSONResponse:
        logger.error("%s", type(error).__name__, exc_info=error, extra=QUIET)
        detail = f"Request {request.state.request_id} failed inside the service."
        return _answer(request, ServiceError(500, "internal-error", detail, remedy="See the service's log."))


def _answer(request: Request, error: ServiceError) -> JSONResponse:
    answer = respond(request.scope, error)
    answer.headers[REQUEST_ID] = request.state.request_id
    # Starlette answers 500 outside of all middleware.
    answer.raw_headers = secured(answer.raw_headers)
    return answer


def __getattr__(name: str) -> FastAPI:
    """`app`, made when a server asks for it: the server's process is ours, that of whoever imports `create_app` is not."""
    if name != "app":
        raise AttributeError(name)
    configure_logging()
    check_exposure(get_settings().keys)
    made = globals()["app"] = create_app()
    # What has been imported stays: without it, a full collection no longer holds up requests for a tenth of a second.
    gc.collect()
    gc.freeze()
    # What requests leave behind is freed by reference counts; under load, cycles would be looked for many times a second.
    gc.set_threshold(10_000, 20, 50)
    return made
