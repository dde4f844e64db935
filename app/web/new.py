"""`/ui/new`: a file becomes a job. The form's script asks here what is in the file, and then starts the job by `POST /jobs`."""

from fastapi import Request, Response
from fastapi.concurrency import run_in_threadpool
from starlette.datastructures import FormData, UploadFile

from app.config import get_settings
from app.contracts.presets import PRESET_SUMMARIES, PRESETS
from app.contracts.students import STUDENTS
from app.datasets.uploads import parse_form
from app.errors import ServiceError
from app.principals import needs
from app.web.preview import Preview, RowsFile, preview
from app.web.rendering import page, page_router

_LISTED_LABELS = 200

router = page_router()


@router.get("/ui/new")
def new_page(request: Request) -> Response:
    settings = get_settings()
    return page(
        request,
        "new.html",
        presets=[(name, PRESET_SUMMARIES[name], PRESETS[name].distil.student) for name in PRESETS],
        default_preset=settings.default_preset,
        kinds=STUDENTS,
        limits=settings.limits,
    )


@router.post("/ui/new/check")
@needs("read")
async def check(request: Request) -> Response:
    """The part of the page that tells what is in a file: `file`, `test_file`, `text_column`, `label_column` of a multipart form."""
    limits = get_settings().limits
    try:
        form = await parse_form(request, limits.max_upload_bytes, "max_upload_bytes", limits.max_upload_bytes)
        try:
            file, test = await _file(form, "file"), await _file(form, "test_file")
            text_column, label_column = (str(form.get(name) or "") or None for name in ("text_column", "label_column"))
        finally:
            await form.close()
        if file is None:
            raise ServiceError(422, "empty-file", "The file is empty.", remedy="Choose another file.")
        found = await run_in_threadpool(preview, file, test, text_column, label_column, limits)
    except ServiceError as error:
        found = Preview([], "text", "label", problem=error.problem)
    return page(request, "new_check.html", status=found.problem.status if found.problem else 200, found=found, listed_labels=_LISTED_LABELS)


async def _file(form: FormData, name: str) -> RowsFile | None:
    part = form.get(name)
    if not isinstance(part, UploadFile) or not part.size:
        return None
    return RowsFile(await part.read(), part.filename or "", part.content_type)
