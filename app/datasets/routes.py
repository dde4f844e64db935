"""`/datasets`: upload rows, see what is there."""

from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response
from fastapi.concurrency import run_in_threadpool

from app.config import get_settings
from app.database import ReadSessionDep, transaction
from app.datasets.schemas import DATASET_BODY, DatasetView, dataset_view
from app.datasets.service import create_dataset, get_dataset, list_datasets
from app.datasets.uploads import Upload, bad_field, read_upload
from app.errors import Problem
from app.paging import Page, PageLimit
from app.storage import get_storage

router = APIRouter(prefix="/datasets", tags=["datasets"])

_FAULTS: dict[int | str, dict[str, Any]] = {
    400: {"model": Problem, "description": "The body cannot be read: not UTF-8, a broken row, malformed JSON or multipart."},
    413: {"model": Problem, "description": "The body is larger than the limit."},
    415: {"model": Problem, "description": "Not a format that is read."},
    422: {"model": Problem, "description": "The rows cannot be used; `errors` names rows, columns and remedies."},
}


@router.post("", status_code=201, responses=_FAULTS, openapi_extra=DATASET_BODY)
async def upload_dataset(request: Request, response: Response) -> DatasetView:
    """Checks and stores labelled rows (CSV, JSON Lines or JSON). The same rows get the same dataset."""
    upload = await read_upload(request, get_settings().limits)
    if upload.fields:
        raise bad_field(
            next(iter(upload.fields)), "is unknown", "The fields of the form are file, test_file, text_column and label_column."
        )
    # A generator's exit code would run after the answer; here the commit comes first.
    view = await run_in_threadpool(_store, upload)
    response.headers["Location"] = f"/datasets/{view.id}"
    return view


def _store(upload: Upload) -> DatasetView:
    with transaction() as session:
        return dataset_view(create_dataset(session, upload.rows, upload.test, limits=get_settings().limits, storage=get_storage()))


@router.get("")
def list_all(
    session: ReadSessionDep, limit: PageLimit, after: Annotated[str | None, Query(description="Id of the last dataset seen.")] = None
) -> Page[DatasetView]:
    """Datasets, the newest first."""
    datasets, has_more = list_datasets(session, limit=limit, after=after)
    views = [dataset_view(dataset) for dataset in datasets]
    return Page[DatasetView](items=views, has_more=has_more, next_after=views[-1].id if has_more else None)


@router.get("/{dataset_id}", responses={404: {"model": Problem}})
def read_one(dataset_id: str, session: ReadSessionDep) -> DatasetView:
    return dataset_view(get_dataset(session, dataset_id))
