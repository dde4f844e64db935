"""`/v1/files`."""

from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Request, Response
from fastapi.concurrency import run_in_threadpool
from starlette.datastructures import UploadFile

from app.config import Limits, get_settings
from app.database import ReadSessionDep, SessionDep, transaction
from app.datasets.uploads import content_type_of, parse_form
from app.paging import PageLimit
from app.protocols.openai import files
from app.protocols.openai.errors import OpenAiRoute, errors, refusal
from app.protocols.openai.files import FileDeleted, FileList, FileObject, ReceivedFile

router = APIRouter(prefix="/files", route_class=OpenAiRoute)

FileId = Annotated[str, Path(description="`file-...`")]
_NO_FILE = "There is no such file."
_MAX_FIELD_BYTES = 10_000
_CURL = "With curl: -F purpose=fine-tune -F file=@examples.jsonl"
_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["file", "purpose"],
                    "properties": {
                        "file": {"type": "string", "format": "binary", "description": "JSON Lines: a labelled example a line."},
                        "purpose": {"type": "string", "enum": [files.FINE_TUNE]},
                    },
                }
            }
        },
    }
}
_CONTENT: dict[int | str, dict[str, Any]] = {
    200: {"description": "The file.", "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}}
}


@router.post(
    "",
    openapi_extra=_BODY,
    responses=errors(
        _400="No form, or a file that cannot be used; the message names the lines.",
        _403="The project's quota of bytes is full.",
        _413="The body is larger than the limit.",
    ),
)
async def upload_file(request: Request) -> FileObject:
    """Stores labelled examples: chat messages, prompt and completion, or text and label, one a line. Each line is checked."""
    limits = get_settings().limits
    return await run_in_threadpool(_store, await _received(request, limits), limits)


@router.get("", responses=errors(_400="An unknown cursor, or a value out of range."))
def list_files(
    session: ReadSessionDep,
    limit: PageLimit,
    purpose: str | None = None,
    after: Annotated[str | None, Query(description="Id of the last file seen.")] = None,
    order: Annotated[files.Order, Query(description="By time of upload.")] = "desc",
) -> FileList:
    """What was uploaded. Results of jobs are not among them; a job names its own."""
    return files.list_files(session, purpose=purpose, limit=limit, after=after, order=order)


@router.get("/{file_id}", responses=errors(_404=_NO_FILE))
def retrieve_file(file_id: FileId, session: ReadSessionDep) -> FileObject:
    """What is known of a file; `/content` has the file itself."""
    return files.get_file(session, file_id)


@router.get("/{file_id}/content", response_class=Response, responses={**_CONTENT, **errors(_404=_NO_FILE)})
def retrieve_content(file_id: FileId, session: ReadSessionDep) -> Response:
    """An upload as it was sent; of a job's results, CSV: teacher, student and baselines on the same held-out rows."""
    return Response(files.read_content(session, file_id), media_type="application/octet-stream")


@router.delete("/{file_id}", responses=errors(_404=_NO_FILE, _409="Results go with their job."))
def delete_file(file_id: FileId, session: SessionDep) -> FileDeleted:
    """Jobs that were made from it keep their rows."""
    return files.delete_file(session, file_id)


def _store(received: ReceivedFile, limits: Limits) -> FileObject:
    with transaction() as session:
        return files.create_file(session, received, limits)


async def _received(request: Request, limits: Limits) -> ReceivedFile:
    if content_type_of(request) != "multipart/form-data":
        raise refusal("file", "The body is no multipart form.", _CURL)
    form = await parse_form(request, limits.max_upload_bytes, "max_upload_bytes", _MAX_FIELD_BYTES)
    try:
        file, purpose = form.get("file"), form.get("purpose")
        if not isinstance(file, UploadFile):
            raise refusal("file", "The field `file` is missing, or is no file.", _CURL)
        if purpose != files.FINE_TUNE:
            what = "The purpose is missing" if purpose is None else f"There is nothing here for the purpose {str(purpose)[:60]!r}"
            raise refusal("purpose", f"{what}.", f"The purpose of a file is {files.FINE_TUNE!r}.")
        if any(name.startswith("expires_after") for name in form):
            raise refusal("expires_after", "Files do not expire here.", "Delete the file when it is not needed any more.")
        return ReceivedFile(file.filename or "", await file.read())
    finally:
        await form.close()
