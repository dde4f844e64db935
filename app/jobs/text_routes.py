"""`/jobs/{id}/synthetic` and `/jobs/{id}/distil-again`: the texts that a job generated, and the job again without some of them."""

from typing import Annotated, Any

from fastapi import APIRouter, Header, Query, Response
from fastapi.responses import StreamingResponse

from app.database import read_session_factory
from app.idempotency import IdempotencyKeyHeader, checked_key
from app.jobs import service
from app.jobs.accepted import ACCEPTED, accepted
from app.jobs.again import distil_again
from app.jobs.openapi import NO_JOB, NO_PLACE, media
from app.jobs.schemas import DistilAgain, JobOut, SyntheticPage
from app.jobs.synthetic import generated_texts
from app.jobs.text_index import Order, TextFilter
from app.openapi import problems
from app.paging import LARGEST_ID, PageLimit
from app.storage import get_storage

MOST_SEARCHED = 200
_Share = Annotated[float | None, Query(ge=0, le=1, description="Of the teacher's largest probability.")]

router = APIRouter()


@router.get(
    "/{job_id}/synthetic",
    response_model=SyntheticPage,
    responses={
        **media("application/x-ndjson", "A page of texts, or all that match, one object a line."),
        **problems(
            _404=NO_JOB,
            _409="The texts are not labelled yet.",
            _410="They were removed with the job's rows.",
            _503="The blob store has lost the texts.",
        ),
    },
)
def get_synthetic(
    job_id: str,
    limit: PageLimit,
    after: Annotated[int, Query(ge=0, le=LARGEST_ID, description="Id of the last text seen.")] = 0,
    verdict: Annotated[str | None, Query(description="Only texts with this verdict, as `kept`.")] = None,
    label: Annotated[
        str | None, Query(description="Only texts that the teacher gives this label, or, where it read none, that were asked for with it.")
    ] = None,
    search: Annotated[str, Query(max_length=MOST_SEARCHED, description="Only texts with this in them, in letters of either case.")] = "",
    min_confidence: _Share = None,
    max_confidence: _Share = None,
    order: Annotated[Order, Query(description="`-confidence`: the teacher's surest answers first.")] = "id",
    accept: Annotated[str, Header(description="`application/x-ndjson` for all texts, one object a line.")] = "",
) -> Any:
    """The generated texts with the teacher's probabilities and the filters' verdicts."""
    wanted = TextFilter(verdict, label, search, min_confidence, max_confidence, order)
    with read_session_factory()() as session:
        job = service.get_job(session, job_id)
    # Without a connection: the texts may have to be fetched, and read.
    texts = generated_texts(get_storage(), job)
    if "application/x-ndjson" in accept:
        return StreamingResponse(texts.stream(wanted) if texts else iter(()), media_type="application/x-ndjson")
    items, has_more, total = texts.page(wanted, after=after, limit=limit) if texts else ([], False, 0)
    return SyntheticPage(items=items, has_more=has_more, next_after=items[-1].id if has_more else None, total=total)


@router.post(
    "/{job_id}/distil-again",
    status_code=202,
    response_model=JobOut,
    responses={
        202: ACCEPTED,
        **problems(
            _400="The body cannot be read, or the Idempotency-Key is none.",
            _403="The project's quota of bytes is full.",
            _404=NO_JOB,
            _409="The job's texts or rows are gone, its name belongs to another dataset by now, or the same request is being worked on.",
            _422="An id is not that of a kept text, or no text would be left; `errors` names the first of them.",
            _429=NO_PLACE,
            _503="The blob store has lost the texts.",
        ),
    },
)
def post_distil_again(job_id: str, wanted: DistilAgain, idempotency_key: IdempotencyKeyHeader = None) -> Response:
    """Starts the job again without some of its generated texts. Teacher, generator and texts are reused; only what follows is made anew."""
    return accepted("/jobs", *distil_again(job_id, wanted, checked_key(idempotency_key)))
