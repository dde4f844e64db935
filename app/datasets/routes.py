"""`/datasets`: upload rows, see what is there."""

from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import JSONResponse

from app.config import get_settings
from app.database import ReadSessionDep, transaction
from app.datasets.schemas import DATASET_BODY, DatasetView, dataset_view
from app.datasets.service import delete_dataset, get_dataset, list_datasets, prepare_rows, store_rows
from app.datasets.uploads import Upload, bad_field, read_upload
from app.idempotency import REPLAYED, IdempotencyKeyHeader, Ticket, checked_key, earlier_answer, fingerprint, keep_answer
from app.openapi import problems
from app.paging import Page, PageLimit
from app.storage import get_storage

router = APIRouter(prefix="/datasets", tags=["datasets"])

_FAULTS = problems(
    _400="The body cannot be read: not UTF-8, a broken row, malformed JSON or multipart. Or the Idempotency-Key is none.",
    _403="The project's quota of rows or bytes is full.",
    _409="The same request is being worked on.",
    _413="The body is larger than the limit.",
    _415="Not a format that is read.",
    _422="The rows cannot be used; `errors` names rows, columns and remedies.",
)
_NO_DATASET = "There is no such dataset."


@router.post("", status_code=201, response_model=DatasetView, responses=_FAULTS, openapi_extra=DATASET_BODY)
async def upload_dataset(request: Request, idempotency_key: IdempotencyKeyHeader = None) -> Response:
    """Checks and stores labelled rows (CSV, JSON Lines or JSON). The same rows get the same dataset."""
    key = checked_key(idempotency_key)
    upload = await read_upload(request, get_settings().limits)
    if upload.fields:
        raise bad_field(
            next(iter(upload.fields)), "is unknown", "The fields of the form are file, test_file, text_column and label_column."
        )
    # A generator's exit code would run after the answer; here the commit comes first.
    answer, replayed = await run_in_threadpool(_store, upload, key)
    headers = {"Location": f"/datasets/{answer['id']}", **({REPLAYED: "true"} if replayed else {})}
    return JSONResponse(answer, 201, headers)


def _store(upload: Upload, key: str | None) -> tuple[dict[str, Any], bool]:
    content = [[[row.row, row.text, row.label] for row in rows] for rows in (upload.rows, upload.test)]
    ticket = Ticket(key, fingerprint("POST", "/datasets", content)) if key is not None else None
    prepared = prepare_rows(upload.rows, upload.test, get_settings().limits)
    with transaction() as session:
        if ticket and (answer := earlier_answer(session, ticket)) is not None:
            return answer, True
        dataset = store_rows(session, prepared, get_storage())
        answer = dataset_view(dataset).model_dump(mode="json")
        if ticket:
            keep_answer(session, ticket, dataset.id, answer)
        return answer, False


@router.get("", responses=problems(_422="An unknown cursor, or a value out of range."))
def list_all(
    session: ReadSessionDep, limit: PageLimit, after: Annotated[str | None, Query(description="Id of the last dataset seen.")] = None
) -> Page[DatasetView]:
    """Datasets, the newest first."""
    datasets, has_more = list_datasets(session, limit=limit, after=after)
    views = [dataset_view(dataset) for dataset in datasets]
    return Page[DatasetView](items=views, has_more=has_more, next_after=views[-1].id if has_more else None)


@router.get("/{dataset_id}", responses=problems(_404=_NO_DATASET))
def read_one(dataset_id: str, session: ReadSessionDep) -> DatasetView:
    """The dataset's labels, counts and warnings, not its rows."""
    return dataset_view(get_dataset(session, dataset_id))


@router.delete("/{dataset_id}", status_code=204, responses=problems(_404=_NO_DATASET, _409="Jobs were made from it."))
def delete_one(dataset_id: str) -> None:
    """Removes a dataset that no job was made from, or whose jobs were deleted."""
    delete_dataset(dataset_id, get_storage())
