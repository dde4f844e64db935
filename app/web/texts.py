"""`/ui/jobs/{id}/texts`: what a job generated, to be searched, and rejected before the student is distilled again."""

from dataclasses import dataclass, replace
from typing import Annotated, Any

from fastapi import Depends, Query, Request, Response
from fastapi.responses import JSONResponse

from app.contracts.texts import KEPT
from app.database import read_session_factory
from app.errors import ServiceError
from app.jobs import service
from app.jobs.schemas import SyntheticText
from app.jobs.synthetic import GeneratedTexts, generated_texts
from app.jobs.text_index import TextFilter
from app.jobs.text_routes import MOST_SEARCHED
from app.storage import get_storage
from app.tables import Job
from app.web.rendering import page, page_router

PAGE = 50
ALL = "all"
ORDERS = {"id": "as generated", "confidence": "least sure first", "-confidence": "surest first"}
_NOT_THERE = {409, 410}

router = page_router()


@dataclass(frozen=True)
class Wanted:
    """The form of the page, as it stands in its address; confidences in percent, empty for none."""

    verdict: str = KEPT
    label: str = ""
    search: str = ""
    least: str = ""
    most: str = ""
    order: str = "id"

    def filter(self) -> TextFilter:
        """Raises `ServiceError` 422."""
        if self.order not in ORDERS:
            raise ServiceError(422, "invalid-request", f"There is no order {self.order!r}.", remedy=f"Ask for one of: {', '.join(ORDERS)}.")
        verdict = None if self.verdict in {"", ALL} else self.verdict
        least, most = _share(self.least), _share(self.most)
        return TextFilter(verdict, self.label or None, self.search, least, most, self.order)  # type: ignore[arg-type]  # checked above

    def address(self, number: int = 1) -> dict[str, str | int]:
        """What the address of the page `number` says; nothing of what goes without saying."""
        usual = Wanted()
        said: dict[str, str | int] = {name: value for name, value in vars(self).items() if value != getattr(usual, name)}
        return said | ({"page": number} if number > 1 else {})


def _wanted(
    verdict: Annotated[str, Query(max_length=40)] = KEPT,
    label: str = "",
    search: Annotated[str, Query(max_length=MOST_SEARCHED)] = "",
    least: Annotated[str, Query(max_length=20)] = "",
    most: Annotated[str, Query(max_length=20)] = "",
    order: Annotated[str, Query(max_length=20)] = "id",
) -> Wanted:
    return Wanted(verdict, label, search, least.strip(), most.strip(), order)


@dataclass(frozen=True)
class Line:
    """A text in the list. `answer`: the teacher's, with its confidence; None where it read none."""

    id: int
    text: str
    verdict: str
    asked: str | None
    answer: str | None
    confidence: float | None

    @property
    def differs(self) -> bool:
        return None not in (self.asked, self.answer) and self.asked != self.answer


WantedDep = Annotated[Wanted, Depends(_wanted)]
PageNumber = Annotated[int, Query(ge=1, le=10**9, alias="page")]


@router.get("/ui/jobs/{job_id}/texts")
def texts_page(job_id: str, request: Request, wanted: WantedDep, number: PageNumber = 1) -> Response:
    job = _job(job_id)
    try:
        texts = generated_texts(get_storage(), job)
    except ServiceError as error:
        if error.problem.status not in _NOT_THERE:
            raise
        return page(request, "texts.html", job=job, problem=error.problem, texts=None)
    facets: dict[str, Any] = {"verdicts": texts.index.verdicts, "labels": texts.index.labels} if texts else {"verdicts": {}, "labels": {}}
    found = _results(texts, wanted, number)
    return page(request, "texts.html", job=job, problem=None, texts=texts, orders=ORDERS, **facets, **found)


@router.get("/ui/jobs/{job_id}/texts/results")
def results(job_id: str, request: Request, wanted: WantedDep, number: PageNumber = 1) -> Response:
    """The page's list alone, which its script puts in place of the last one as the search is typed."""
    job = _job(job_id)
    texts = generated_texts(get_storage(), job)
    return page(request, "text_results.html", job=job, **_results(texts, wanted, number))


@router.get("/ui/jobs/{job_id}/texts/ids")
def ids(job_id: str, wanted: WantedDep) -> Response:
    """Of all that match and can be rejected."""
    texts = generated_texts(get_storage(), _job(job_id))
    asked = wanted.filter()
    if texts is None or asked.verdict not in {None, KEPT}:
        return JSONResponse([])
    return JSONResponse((texts.index.matching(replace(asked, verdict=KEPT)) + 1).tolist())


def _job(job_id: str) -> Job:
    """Keeps no connection: the job's texts may have to be fetched, and read."""
    with read_session_factory()() as session:
        return service.get_job(session, job_id)


def _results(texts: GeneratedTexts | None, wanted: Wanted, number: int) -> dict[str, Any]:
    """Variables of the list. A page after the last one is the last one: the list may have become shorter."""
    if texts is None:
        return {"wanted": wanted, "items": [], "total": 0, "first": 0, "number": 1, "pages": 1, "rejectable": False}
    asked = wanted.filter()
    rows = texts.index.matching(asked)
    pages = max(1, -(-len(rows) // PAGE))
    number = min(number, pages)
    first = (number - 1) * PAGE
    return {
        "wanted": wanted,
        "items": [_line(text) for text in texts.read(rows[first : first + PAGE])],
        "total": len(rows),
        "first": first + 1,
        "number": number,
        "pages": pages,
        "rejectable": asked.verdict in {None, KEPT},
    }


def _line(text: SyntheticText) -> Line:
    answer, confidence = max((text.probabilities or {}).items(), key=lambda item: item[1], default=(None, None))
    return Line(text.id, text.text, text.verdict, text.label, answer, confidence)


def _share(percent: str) -> float | None:
    """Raises `ServiceError` 422 for what is no percentage."""
    if not percent:
        return None
    try:
        value = float(percent) / 100
    except ValueError:
        value = -1.0
    if not 0 <= value <= 1:
        raise ServiceError(422, "invalid-request", f"{percent!r} is no confidence.", remedy="Give a number of percent, from 0 to 100.")
    return value
