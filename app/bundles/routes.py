"""Students that leave as a zip, and come back as one."""

from typing import Annotated

from fastapi import APIRouter, Header, Path, Query, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import StreamingResponse

from app.bundles.archive import zipped
from app.bundles.importing import import_student
from app.bundles.service import make_bundle
from app.config import get_settings
from app.contracts.comparison import Promote
from app.database import ReadSessionDep
from app.datasets.uploads import content_type_of, read_body
from app.errors import ServiceError
from app.jobs.schemas import NAME_PATTERN
from app.openapi import problems
from app.storage import get_storage
from app.students.schemas import REFERENCE_PATTERN, StudentVersion

router = APIRouter(prefix="/students", tags=["students"])

ZIP = "application/zip"
_REFERENCE = Path(description="`name`, `name@alias` or `name:version`.", json_schema_extra={"pattern": REFERENCE_PATTERN})


@router.get(
    "/{student}/download",
    response_class=Response,
    responses={
        200: {"description": "The bundle.", "content": {ZIP: {"schema": {"type": "string", "format": "binary"}}}},
        304: {"description": "What `If-None-Match` names is still what it is."},
        **problems(
            _404="There is no such student, version or alias.",
            _422="That names no student.",
            _503="This student's files are missing or damaged.",
        ),
    },
)
def download(
    student: Annotated[str, _REFERENCE], session: ReadSessionDep, if_none_match: Annotated[str | None, Header()] = None
) -> Response:
    """The student with its tokenizer, manifest, report and model card, and a `predict.py` that runs it without this service."""
    bundle = make_bundle(session, student, get_storage())
    etag = f'"{bundle.digest}"'
    headers = {"ETag": etag, "Content-Disposition": f'attachment; filename="{bundle.name}-{bundle.version}.zip"'}
    if if_none_match is not None and etag in [tag.strip().removeprefix("W/") for tag in if_none_match.split(",")]:
        return Response(status_code=304, headers=headers)
    return StreamingResponse(zipped(bundle.parts), media_type=ZIP, headers=headers)


@router.post(
    "/import",
    status_code=201,
    openapi_extra={"requestBody": {"required": True, "content": {ZIP: {"schema": {"type": "string", "format": "binary"}}}}},
    responses=problems(
        _403="The project's quota of bytes is full.",
        _413="The body is larger than the limit.",
        _415="A form, not the zip itself.",
        _422="Not a bundle, or not one to be trusted; the detail says why.",
    ),
)
async def upload(
    request: Request,
    response: Response,
    name: Annotated[str | None, Query(pattern=NAME_PATTERN, description="Of the student here; else the one that the bundle names.")] = None,
    promote: Annotated[bool, Query(description="Move `latest` to it. The first version of a name is `latest` in any case.")] = False,
) -> StudentVersion:
    """Publishes a student that another gendistil gave as a zip, as the next version of its name."""
    if content_type_of(request).startswith("multipart/"):
        raise ServiceError(
            415, "unsupported-format", "The body is a form.", remedy="Send the zip itself. With curl: --data-binary @file.zip"
        )
    limits = get_settings().limits
    content = await read_body(request, limits)
    asked = Promote.ALWAYS if promote else Promote.NEVER
    version = await run_in_threadpool(import_student, content, name, asked, limits, get_storage())
    response.headers["Location"] = f"/students/{version.name}"
    return version
