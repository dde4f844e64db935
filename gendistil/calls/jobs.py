"""Jobs: start them, follow them, stop them, read what they made."""

import json
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypedDict, Unpack

from gendistil.calls.datasets import Row, form_files, keyed, one_of, plain
from gendistil.errors import GendistilError, JobFailed, WaitTimeout
from gendistil.models import Event, Job, JobEstimate, Report
from gendistil.steps import UPLOAD_TIMEOUT, Flow, Sleep, done, fetched, given, listed, saved

PATIENCE_SECONDS = 60.0
"""A service that answered and then does not, as while it is started anew, is asked again for so long."""


class JobInput(TypedDict, total=False):
    """What a student is made from, one of `rows`, `file` and `dataset` (an id), and how.

    `spec` overrides single fields of the preset, as in `{"distil": {"student": "bag"}}`. `replace_dataset` allows for a name whose
    students come from other rows. `text_column` and `label_column`: of the rows or the file, else text and label.
    """

    rows: Sequence[Row] | None
    file: Path | None
    dataset: str | None
    test: Sequence[Row] | None
    test_file: Path | None
    text_column: str | None
    label_column: str | None
    preset: str | None
    spec: Mapping[str, Any] | None
    replace_dataset: bool


def create_job(
    name: str,
    *,
    promote: str | None = None,
    promote_reason: str | None = None,
    idempotency_key: str | None = None,
    **what: Unpack[JobInput],
) -> Flow[Job]:
    """Starts the distillation of a student called `name`.

    `promote` ("if_not_worse", "always" or "never"): whether the new version becomes `latest`. Called again with the same
    `idempotency_key`, it returns the job that was started first.
    """
    body = _body(name, given(promote=promote, promote_reason=promote_reason), what)
    return fetched(Job, "POST", "/jobs", **body, **keyed(idempotency_key))


def estimate(name: str, **what: Unpack[JobInput]) -> Flow[JobEstimate]:
    """What `create_job` with the same arguments would take; starts and stores nothing.

    Raises `GendistilError` of type `urn:gendistil:does-not-fit` if the memory or the room is too small.
    """
    return fetched(JobEstimate, "POST", "/jobs", params={"dry_run": True}, **_body(name, {}, what))


def _body(name: str, gate: dict[str, str], what: JobInput) -> dict[str, Any]:
    """Options of the call: a form if there is a file in it, else JSON."""
    rows, file, test, test_file = what.get("rows"), what.get("file"), what.get("test"), what.get("test_file")
    source = one_of(rows=rows, file=file, dataset=what.get("dataset"))
    columns = given(text_column=what.get("text_column"), label_column=what.get("label_column"))
    if source == "dataset" and (test or test_file or columns):
        raise GendistilError(
            "A dataset that is uploaded already has its columns and its test rows.", remedy="Give them with rows or a file."
        )
    spec = what.get("spec") or None
    fields = {"name": name, **given(preset=what.get("preset"), replace_dataset=what.get("replace_dataset") or None), **gate}
    if source == "file" or test_file:
        in_form = {**fields, **columns, **({"spec": json.dumps(spec)} if spec else {})}
        return {"files": form_files(rows, file, test, test_file), "data": in_form, "timeout": UPLOAD_TIMEOUT}
    inline = {"rows": plain(rows), **given(test=plain(test)), **columns}
    return {"json": {**fields, **given(spec=spec), "dataset": what.get("dataset") or inline}}


def job(id: str) -> Flow[Job]:
    return fetched(Job, "GET", "/jobs/{job_id}", id)


def jobs(limit: int = 20, *, status: str | None = None, name: str | None = None) -> Flow[list[Job]]:
    """The newest first; of one status, or of one student's name."""
    return listed(Job, "/jobs", limit=limit, status=status, name=name)


def events(id: str, *, after: int | None = None, limit: int = 1000) -> Flow[list[Event]]:
    """What happened to the job, oldest first; from the event behind the id `after`."""
    return listed(Event, "/jobs/{job_id}/events", id, limit=limit, start=after)


def wait(id: str, *, on_update: Callable[[Job], None] | None = None, poll_seconds: float = 0.5, timeout: float | None = None) -> Flow[Job]:
    """Returns the job once it succeeded; `on_update` gets every state on the way.

    A service that is away for less than a minute is waited for. Raises `JobFailed` if the job fails or is cancelled, `WaitTimeout`
    after `timeout` seconds.
    """
    began = heard = time.monotonic()
    found: Job | None = None
    while True:
        try:
            found = yield from job(id)
            heard = time.monotonic()
        except GendistilError as error:
            if found is None or not error.passing or time.monotonic() - heard > PATIENCE_SECONDS:
                raise
        else:
            if on_update:
                on_update(found)
            if found.status == "succeeded":
                return found
            if found.ended:
                raise _failure(found)
        if timeout is not None and time.monotonic() - began >= timeout:
            raise WaitTimeout(f"Job {id} is still {found.status} after {timeout:g} s.", remedy=f"Watch it with 'gendistil watch {id}'.")
        yield Sleep(poll_seconds)


def _failure(job: Job) -> JobFailed:
    fault = job.error
    if job.status == "cancelled" or fault is None:
        return JobFailed(f"Job {job.id} was {job.status}.", remedy=f"Go on with it: gendistil resume {job.id}")
    where = f" in {fault.stage}" if fault.stage else ""
    return JobFailed(f"Job {job.id} failed{where}: {fault.detail}", type=fault.type or "urn:gendistil:job-failed", remedy=fault.remedy)


def cancel(id: str) -> Flow[Job]:
    """Stops a job: what waits at once, what runs within seconds."""
    return fetched(Job, "POST", "/jobs/{job_id}/cancel", id)


def resume(id: str) -> Flow[Job]:
    """Goes on with a failed or cancelled job after its last finished stage."""
    return fetched(Job, "POST", "/jobs/{job_id}/resume", id)


def report(id: str) -> Flow[Report]:
    """Teacher, student and baselines side by side on the same held-out rows."""
    return fetched(Report, "GET", "/jobs/{job_id}/report", id)


def report_html(id: str, to: Path = Path()) -> Flow[Path]:
    """Saves the report as one HTML file that needs no other: in the folder `to`, or as the file `to`. Returns the file."""
    return saved(to, "/jobs/{job_id}/report.html", id)


def delete_job(id: str) -> Flow[None]:
    """Removes an ended job and what it alone made; a student that it published must be deleted first."""
    return done("DELETE", "/jobs/{job_id}", id)
