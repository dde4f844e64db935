"""`/predictions`: a file of texts, predicted by a worker."""

from functools import partial
from typing import Annotated

from anyio import to_thread
from fastapi import APIRouter, Header, Query, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import StreamingResponse

from app.bulk import service
from app.bulk.results import CSV, JSONL, open_result
from app.bulk.schemas import BULK_BODY, BulkOut
from app.bulk.uploads import checked_options, read_options, received
from app.config import get_settings
from app.database import ReadSessionDep, SessionDep
from app.idempotency import IdempotencyKeyHeader, checked_key
from app.jobs.accepted import ACCEPTED, RETRY_AFTER, accepted
from app.openapi import problems
from app.paging import Page, PageLimit
from app.principals import needs
from app.storage import get_storage

_NONE = "There is no such prediction."

router = APIRouter(prefix="/predictions", tags=["predictions"])


@router.post(
    "",
    status_code=202,
    response_model=BulkOut,
    openapi_extra=BULK_BODY,
    responses={
        202: ACCEPTED,
        **problems(
            _400="The file cannot be read: not UTF-8, a broken row, malformed multipart; or the idempotency key is no key.",
            _403="The project's quota of bytes is full.",
            _404="There is no such student, version or alias.",
            _409="A request with this idempotency key is being worked on.",
            _413="The file is larger than the limit.",
            _415="Not a format that is read.",
            _422="Rows or options that cannot be used; `errors` names rows, columns and remedies.",
        ),
    },
)
@needs("predict")
async def post_file(request: Request, idempotency_key: IdempotencyKeyHeader = None) -> Response:
    """Predicts every row of a CSV or JSON Lines file, in its order, with the version that the reference means now."""
    key = checked_key(idempotency_key)
    options = read_options(request)
    if options is not None:
        await run_in_threadpool(service.check_student, options)
    settings = get_settings()
    async with received(request, settings) as (file, fields):
        options = options or checked_options(fields)
        check = partial(service.submit, file, options, key, limits=settings.limits, storage=get_storage())
        # Large files take seconds of the processor: so many at a time, and the threads of other routes stay free.
        answer, replayed = await to_thread.run_sync(check, limiter=request.app.state.bulk_checks)
    return accepted("/predictions", answer, replayed)


@router.get("")
@needs("predict")
def list_all(
    session: ReadSessionDep, limit: PageLimit, after: Annotated[str | None, Query(description="Id of the last one seen.")] = None
) -> Page[BulkOut]:
    """Files that were sent, the newest first."""
    found, has_more = service.list_bulk(session, limit=limit, after=after)
    views = [service.bulk_out(row) for row in found]
    return Page[BulkOut](items=views, has_more=has_more, next_after=views[-1].id if has_more else None)


@router.get("/{prediction_id}", responses=problems(_404=_NONE))
@needs("predict")
def read_one(prediction_id: str, session: ReadSessionDep, response: Response) -> BulkOut:
    """How far it is; `Retry-After` while it has not ended."""
    found = service.bulk_out(service.get_bulk(session, prediction_id))
    if found.finished_at is None:
        response.headers["Retry-After"] = RETRY_AFTER
    return found


@router.get(
    "/{prediction_id}/result",
    response_class=StreamingResponse,
    responses={
        200: {
            "description": "The file's rows in their order, each with its prediction.",
            "content": {JSONL: {"schema": {"type": "string"}}, CSV: {"schema": {"type": "string"}}},
        },
        **problems(_404=_NONE, _409="It has no result (yet).", _503="The blob store has lost the result."),
    },
)
@needs("predict")
def get_result(
    prediction_id: str,
    session: ReadSessionDep,
    accept: Annotated[str, Header(description="`text/csv` for CSV, else JSON Lines.")] = "",
    formulas: Annotated[
        bool, Query(description="Of CSV: cells as they came. Else `'` stands before those that a spreadsheet would run.")
    ] = False,
) -> StreamingResponse:
    """The file's rows with `label`, `score` and `abstained`."""
    found = service.get_bulk(session, prediction_id)
    media_type = CSV if CSV in accept else JSONL
    content = open_result(found, get_storage(), media_type, formulas)
    ending = "csv" if media_type == CSV else "jsonl"
    headers = {"Content-Disposition": f'attachment; filename="{found.student}-{found.version}-{found.id}.{ending}"', "Vary": "Accept"}
    if media_type == JSONL:  # a download that breaks off is noticed
        headers["Content-Length"] = str(found.result_bytes)
    return StreamingResponse(content, media_type=media_type, headers=headers)


@router.post("/{prediction_id}/cancel", status_code=202, responses=problems(_404=_NONE, _409="It has ended."))
@needs("predict")
def cancel(prediction_id: str, session: SessionDep) -> BulkOut:
    """Stops it; cancelled twice is cancelled."""
    return service.bulk_out(service.cancel_bulk(session, prediction_id))


@router.delete("/{prediction_id}", status_code=204, responses=problems(_404=_NONE, _409="It has not ended."))
@needs("predict")
def delete_one(prediction_id: str) -> None:
    """Removes it with its file and its result."""
    service.delete_bulk(prediction_id, get_storage())
