"""Predictions: of texts, and of files of texts by a worker."""

from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TypedDict, Unpack

from gendistil.errors import GendistilError, JobFailed
from gendistil.models import BulkPrediction, Predictions
from gendistil.steps import UPLOAD_TIMEOUT, Flow, Sleep, done, fetched, given, listed, saved

CSV, JSONL = "text/csv", "application/x-ndjson"
ONE = "/predictions/{prediction_id}"
_CONTENT_TYPES = {".csv": CSV, ".tsv": CSV, ".jsonl": JSONL, ".ndjson": JSONL}


def predict(
    student: str,
    inputs: str | Sequence[str],
    top_k: int = 1,
    *,
    min_precision: float | None = None,
    min_score: float | None = None,
    out_of_scope: bool | None = None,
    escalate: bool | None = None,
) -> Flow[Predictions]:
    """`student`: `name`, `name@alias` or `name:version`. The predictions are in the order of `inputs`.

    Below `min_score`, or below the score from which on a share of `min_precision` is right, a prediction says `abstained`; with
    `escalate` the teacher answers there, if a process holds it. `out_of_scope`: tell how strange each text is.
    """
    texts = inputs if isinstance(inputs, str) else list(inputs)
    options = given(min_precision=min_precision, min_score=min_score, out_of_scope=out_of_scope, escalate=escalate)
    return fetched(Predictions, "POST", "/predict", json={"student": student, "inputs": texts, "top_k": top_k, **options})


class BulkOptions(TypedDict, total=False):
    """As of `predict`; above 1, `top_k` adds a column `scores`. `text_column`: of the file, else `text`."""

    text_column: str | None
    top_k: int | None
    min_score: float | None
    min_precision: float | None
    out_of_scope: bool | None


def send(student: str, file: Path, *, idempotency_key: str | None = None, **options: Unpack[BulkOptions]) -> Flow[BulkPrediction]:
    """Sends a CSV or JSON Lines file; the version that `student` means now predicts its rows."""
    headers = {"Content-Type": _CONTENT_TYPES.get(file.suffix.lower(), "application/octet-stream")}
    if idempotency_key is not None:
        headers["Idempotency-Key"] = idempotency_key
    params = {"student": student, **given(**options)}
    return fetched(BulkPrediction, "POST", "/predictions", upload=file, params=params, headers=headers, timeout=UPLOAD_TIMEOUT)


def get(id: str) -> Flow[BulkPrediction]:
    return fetched(BulkPrediction, "GET", ONE, id)


def all_sent(limit: int = 20) -> Flow[list[BulkPrediction]]:
    """The newest first."""
    return listed(BulkPrediction, "/predictions", limit=limit)


def wait(id: str, *, on_update: Callable[[BulkPrediction], None] | None = None, poll_seconds: float = 0.5) -> Flow[BulkPrediction]:
    """Returns it once it has succeeded; `on_update` gets every state on the way. Raises `JobFailed` if it ends otherwise."""
    while True:
        found = yield from get(id)
        if on_update:
            on_update(found)
        if found.status == "succeeded":
            return found
        if found.ended:
            fault = found.error if found.status == "failed" else None
            what = f"The prediction {id} {'failed: ' + fault.detail if fault else 'was ' + found.status + '.'}"
            kind = (fault.type if fault else "") or "urn:gendistil:prediction-failed"
            raise JobFailed(what, type=kind, remedy=fault.remedy if fault else "Send the file again.")
        yield Sleep(poll_seconds)


def save(id: str, to: Path) -> Flow[Path]:
    """Writes the result into the file `to`: as CSV if that is called so, else as JSON Lines. Returns the file."""
    accept = CSV if to.suffix.lower() == ".csv" else JSONL
    return saved(to, f"{ONE}/result", id, headers={"Accept": accept})


def cancel(id: str) -> Flow[BulkPrediction]:
    return fetched(BulkPrediction, "POST", f"{ONE}/cancel", id)


def delete(id: str) -> Flow[None]:
    """Removes an ended one with its file and its result."""
    return done("DELETE", ONE, id)


def predict_file(
    student: str,
    file: Path,
    to: Path,
    *,
    keep: bool = False,
    on_update: Callable[[BulkPrediction], None] | None = None,
    **options: Unpack[BulkOptions],
) -> Flow[BulkPrediction]:
    """Predicts each row of a CSV or JSON Lines file into the file `to`: CSV if it is called so, else JSON Lines.

    The rows are in their order, with all their columns. `keep`: the service keeps the file and the result, see `bulk`. What
    interrupts it, a Ctrl-C or a cancelled task, cancels the work. Raises `JobFailed` if it fails.
    """
    sent = yield from send(student, file, **options)
    try:
        ended = yield from wait(sent.id, on_update=on_update)
    except (Exception, GeneratorExit):
        raise
    except BaseException:
        with suppress(GendistilError):
            yield from cancel(sent.id)
            yield from delete(sent.id)
        raise
    yield from save(sent.id, to)
    if not keep:
        yield from delete(sent.id)
    return ended
