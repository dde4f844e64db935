"""Generated texts of a job: read them, and distil again without some."""

from collections.abc import Sequence
from pathlib import Path
from typing import TypedDict, Unpack

from gendistil.calls.datasets import keyed
from gendistil.models import Job, SyntheticText
from gendistil.steps import Flow, fetched, given, listed, saved

JSONL = "application/x-ndjson"


class TextFilter(TypedDict, total=False):
    """Texts of a `verdict` (as `kept`), of a `label`, that hold `search`, of which the teacher is so sure; `order`: id or confidence."""

    verdict: str | None
    label: str | None
    search: str | None
    min_confidence: float | None
    max_confidence: float | None
    order: str | None


def synthetic(id: str, *, limit: int = 100, **wanted: Unpack[TextFilter]) -> Flow[list[SyntheticText]]:
    """Generated texts with the teacher's probabilities and the filters' verdicts."""
    return listed(SyntheticText, "/jobs/{job_id}/synthetic", id, limit=limit, **wanted)


def save_synthetic(id: str, to: Path, **wanted: Unpack[TextFilter]) -> Flow[Path]:
    """Saves all that match as JSON Lines into the file `to`, which it returns."""
    return saved(to, "/jobs/{job_id}/synthetic", id, params=given(**wanted), headers={"Accept": JSONL})


def distil_again(
    id: str,
    rejected: Sequence[int],
    *,
    promote: str | None = None,
    promote_reason: str | None = None,
    replace_dataset: bool | None = None,
    idempotency_key: str | None = None,
) -> Flow[Job]:
    """Starts the job again without the generated texts of these ids, and without those that it was told to leave out before."""
    body = given(rejected=list(rejected), promote=promote, promote_reason=promote_reason, replace_dataset=replace_dataset)
    return fetched(Job, "POST", "/jobs/{job_id}/distil-again", id, json=body, **keyed(idempotency_key))
