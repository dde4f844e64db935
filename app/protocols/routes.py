"""`/v2`: the Open Inference Protocol. A model is a student; its versions are the student's, and so are its aliases."""

from importlib.metadata import version
from typing import Annotated

from fastapi import APIRouter, Header, Path, Request, Response
from fastapi.concurrency import run_in_threadpool
from pydantic import BaseModel

from app.errors import ServiceError
from app.jobs.schemas import NAME_PATTERN
from app.openapi import inlined
from app.predictions.schemas import PREDICT_ERRORS
from app.principals import needs
from app.protocols.errors import InferenceRoute, errors
from app.protocols.inference_v2 import SCORES, InferRequest, InferResponse, ModelMetadata, answer, metadata, read_query
from app.protocols.predictor import ALL, Reference, classify, load, read, resolve
from app.system.readiness import readiness

router = APIRouter(prefix="/v2", tags=["protocols"], route_class=InferenceRoute)

JSON_LENGTH = "Inference-Header-Content-Length"
_OCTETS = "application/octet-stream"
_UNKNOWN = errors(_400="The model's name is none.", _404="There is no such model or version.", _503="It cannot be served.")
_BINARY = {"schema": {"type": "string", "format": "binary"}}
Name = Annotated[str, Path(description="A student's.", json_schema_extra={"pattern": NAME_PATTERN})]
VersionOrAlias = Annotated[
    str, Path(description="Of the student.", json_schema_extra={"pattern": r"^([0-9]{1,9}|[a-z][a-z0-9_.-]{0,62})$"})
]
JsonLength = Annotated[
    str | None, Header(description="Bytes of JSON, where binary tensors follow it.", json_schema_extra={"pattern": r"^[0-9]{1,20}$"})
]
_BODY = {"requestBody": {"required": True, "content": {"application/json": {"schema": inlined(InferRequest)}, _OCTETS: _BINARY}}}


class ServerMetadata(BaseModel):
    name: str
    version: str
    extensions: list[str]


class Live(BaseModel):
    live: bool = True


class Ready(BaseModel):
    ready: bool = True


class ModelReady(Ready):
    name: str


@router.get("")
@needs("public")
def server_metadata() -> ServerMetadata:
    """Name, version and extensions, as the Open Inference Protocol has them."""
    return ServerMetadata(name="gendistil", version=version("gendistil"), extensions=["binary_tensor_data"])


@router.get("/health/live")
@needs("public")
def live() -> Live:
    """The process lives."""
    return Live()


@router.get("/health/ready", responses=errors(_503="Something that the service needs does not answer."))
@needs("public")
def ready() -> Ready:
    """The database, Redis and the blob store answer."""
    away = [name for name, check in readiness().checks.items() if not check.ok]
    if away:
        raise ServiceError(503, "not-ready", f"Not ready: {', '.join(away)}.")
    return Ready()


@router.get("/models/{model}", responses=_UNKNOWN, response_model_exclude_none=True)
@needs("predict")
async def model_metadata(model: Reference) -> ModelMetadata:
    """Inputs, outputs and versions of the student that a plain name or alias means."""
    return metadata(await resolve(model))


@router.get("/models/{model}/versions/{model_version}", responses=_UNKNOWN, response_model_exclude_none=True)
@needs("predict")
async def model_version_metadata(model: Name, model_version: VersionOrAlias) -> ModelMetadata:
    """Inputs and outputs of one version, by its number or an alias."""
    return metadata(await resolve(_reference(model, model_version)))


@router.get("/models/{model}/ready", responses=_UNKNOWN)
@needs("predict")
async def model_ready(model: Reference, request: Request) -> ModelReady:
    """The student is loaded, or has been now."""
    student = await resolve(model)
    await load(request, student)
    return ModelReady(name=student.name)


@router.get("/models/{model}/versions/{model_version}/ready", responses=_UNKNOWN)
@needs("predict")
async def model_version_ready(model: Name, model_version: VersionOrAlias, request: Request) -> ModelReady:
    """The student is loaded, or has been now."""
    return await model_ready(_reference(model, model_version), request)


_INFER = {
    200: {"model": InferResponse, "content": {_OCTETS: _BINARY}, "description": "JSON, followed by the outputs that are binary."},
    **errors(
        **PREDICT_ERRORS,
        _400="Not a request of the protocol, or texts that are empty, too long or too many.",
        _415="A compressed body.",
    ),
}


@router.post("/models/{model}/infer", responses=_INFER, openapi_extra=_BODY, response_class=Response)
@needs("predict")
async def infer(model: Reference, request: Request, inference_header_content_length: JsonLength = None) -> Response:
    """Texts in (`text`), labels and scores out (`label`, `score`, `scores`), in their order."""
    if request.headers.get("content-encoding", "identity") != "identity":
        raise ServiceError(415, "unsupported-format", "The body is compressed.", remedy="Send it as it is.")
    body = await read(request)
    query = await run_in_threadpool(read_query, body, inference_header_content_length)
    found = await classify(request, model, query.texts, ALL if SCORES in query.binary else 1)
    content, json_length = await run_in_threadpool(answer, query, found)
    headers = {} if json_length is None else {JSON_LENGTH: str(json_length)}
    return Response(content, media_type="application/json" if json_length is None else _OCTETS, headers=headers)


@router.post("/models/{model}/versions/{model_version}/infer", responses=_INFER, openapi_extra=_BODY, response_class=Response)
@needs("predict")
async def model_version_infer(
    model: Name, model_version: VersionOrAlias, request: Request, inference_header_content_length: JsonLength = None
) -> Response:
    """Texts in (`text`), labels and scores out (`label`, `score`, `scores`), in their order."""
    return await infer(_reference(model, model_version), request, inference_header_content_length)


def _reference(model: str, model_version: str) -> str:
    return f"{model}:{model_version}" if model_version.isdigit() else f"{model}@{model_version}"
