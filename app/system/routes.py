"""Live, ready, metrics, and what a job may ask for."""

from fastapi import APIRouter, Request, Response
from prometheus_client import CONTENT_TYPE_LATEST

from app.config import get_settings
from app.contracts.models import EMBEDDED_MODELS, EMBEDDED_PREFIX
from app.contracts.presets import PRESET_SUMMARIES, PRESETS
from app.contracts.students import STUDENTS
from app.database import ReadSessionDep
from app.ownership import every_project
from app.principals import needs
from app.storage import get_storage
from app.system.metrics import Metrics
from app.system.readiness import readiness
from app.system.schemas import Catalogue, Health, ModelOut, PresetOut, Readiness, StudentKindOut

router = APIRouter(tags=["system"])


@router.get("/healthz")
@needs("public")
def healthz() -> Health:
    """The process lives."""
    return Health()


@router.get("/readyz", responses={503: {"model": Readiness, "description": "Something that the service needs does not answer."}})
@needs("public")
def readyz(response: Response) -> Readiness:
    """The database, Redis and the blob store answer."""
    found = readiness()
    response.status_code = 200 if found.ready else 503
    return found


@router.get("/metrics", response_class=Response, responses={200: {"content": {"text/plain": {}}}})
@needs("metrics")
def get_metrics(request: Request, session: ReadSessionDep) -> Response:
    """Prometheus metrics, of all projects."""
    metrics: Metrics = request.app.state.metrics
    with every_project():
        return Response(metrics.render(session, get_storage()), media_type=CONTENT_TYPE_LATEST)


@router.get("/presets")
def get_presets() -> Catalogue:
    """The presets with their full specs, the kinds of students, and the models that need no download."""
    default = get_settings().default_preset
    return Catalogue(
        presets=[
            PresetOut(name=name, summary=PRESET_SUMMARIES[name], default=name == default, spec=spec) for name, spec in PRESETS.items()
        ],
        students=[StudentKindOut(name=name, summary=summary) for name, summary in STUDENTS.items()],
        models=[
            ModelOut(
                reference=f"{EMBEDDED_PREFIX}{name}",
                role=model.role,
                parameters=model.parameters,
                licence=model.licence,
                summary=model.summary,
            )
            for name, model in EMBEDDED_MODELS.items()
        ],
    )
