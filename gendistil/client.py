"""The typed client: `with Client() as client: job = client.create_job("triage", file=Path("rows.csv"))`."""

import json
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, TypedDict, TypeVar, Unpack
from urllib.parse import quote, urlsplit

import httpx
from pydantic import ValidationError

from gendistil.bulk import Bulk, BulkOptions
from gendistil.errors import GendistilError, JobFailed, WaitTimeout, from_response, from_transport
from gendistil.models import (
    Alias,
    Answer,
    BulkPrediction,
    Catalogue,
    Collection,
    Dataset,
    Job,
    JobEstimate,
    Predictions,
    Preset,
    PublishedVersion,
    Report,
    Student,
)

AnswerT = TypeVar("AnswerT", bound=Answer)
DEFAULT_URL = "http://127.0.0.1:8000"
PAGE = 20
NO_CONTENT = 204
Row = Mapping[str, str]
"""`{"text": ..., "label": ...}`"""


class JobInput(TypedDict, total=False):
    """What a student is made from, one of `rows`, `file` and `dataset` (an id), and how.

    `spec` overrides single fields of the preset, as in `{"distil": {"student": "bag"}}`. `replace_dataset` allows for a name whose
    students come from other rows.
    """

    rows: Sequence[Row] | None
    file: Path | None
    dataset: str | None
    test: Sequence[Row] | None
    test_file: Path | None
    preset: str | None
    spec: Mapping[str, Any] | None
    replace_dataset: bool


class Client:
    """A connection to one gendistil service. Every method raises `GendistilError`, which holds the service's problem+json."""

    def __init__(self, base_url: str = DEFAULT_URL, timeout: float = 60.0) -> None:
        self.base_url = base_url.rstrip("/")
        # A proxy of the environment cannot reach this machine's own addresses.
        own = _host(self.base_url) in {"localhost", "127.0.0.1", "::1"}
        self.bulk = Bulk(self)
        self._http = httpx.Client(base_url=self.base_url, timeout=httpx.Timeout(timeout, connect=5.0), trust_env=not own)

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        self._http.close()

    def create_dataset(
        self,
        *,
        rows: Sequence[Row] | None = None,
        file: Path | None = None,
        test: Sequence[Row] | None = None,
        test_file: Path | None = None,
        text_column: str | None = None,
        label_column: str | None = None,
    ) -> Dataset:
        """Uploads rows, or a CSV, JSONL or JSON file, with test rows of its own if there are any."""
        source = _source(rows=rows, file=file)
        columns = _given(text_column=text_column, label_column=label_column)
        if source == "file" or test_file:
            return self._parse(Dataset, self._post_files("/datasets", rows, file, test, test_file, columns), "/datasets")
        return self.call(Dataset, "POST", "/datasets", json={"rows": rows, **_given(test=test), **columns})

    def create_job(
        self,
        name: str,
        *,
        promote: str | None = None,
        promote_reason: str | None = None,
        idempotency_key: str | None = None,
        **given: Unpack[JobInput],
    ) -> Job:
        """Starts the distillation of a student called `name`.

        `promote` ("if_not_worse", "always" or "never"): whether the new version becomes `latest`. Called again with the same
        `idempotency_key`, it returns the job that was started first.
        """
        headers = {"Idempotency-Key": idempotency_key} if idempotency_key is not None else {}
        gate = _given(promote=promote, promote_reason=promote_reason)
        return self._parse(Job, self._post_job(name, gate, {"headers": headers}, **given), "/jobs")

    def estimate(self, name: str, **given: Unpack[JobInput]) -> JobEstimate:
        """What `create_job` with the same arguments would take; starts and stores nothing.

        Raises `GendistilError` of type `urn:gendistil:does-not-fit` if the memory or the room is too small.
        """
        return self._parse(JobEstimate, self._post_job(name, {}, {"params": {"dry_run": True}}, **given), "/jobs")

    def _post_job(
        self,
        name: str,
        gate: dict[str, str],
        options: dict[str, Any],
        *,
        rows: Sequence[Row] | None = None,
        file: Path | None = None,
        dataset: str | None = None,
        test: Sequence[Row] | None = None,
        test_file: Path | None = None,
        preset: str | None = None,
        spec: Mapping[str, Any] | None = None,
        replace_dataset: bool = False,
    ) -> Any:
        source = _source(rows=rows, file=file, dataset=dataset)
        if source == "dataset" and (test or test_file):
            raise GendistilError("A dataset that is uploaded already has its test rows.", remedy="Give them with rows or a file.")
        fields = {"name": name, **_given(preset=preset, spec=spec, replace_dataset=replace_dataset or None), **gate}
        if source == "file" or test_file:
            in_form = {"spec": json.dumps(spec)} if spec else {}
            return self._post_files("/jobs", rows, file, test, test_file, {**fields, **in_form}, **options)
        body = {**fields, "dataset": dataset or {"rows": rows, **_given(test=test)}}
        return self.request("POST", "/jobs", json=body, **options)

    def job(self, id: str) -> Job:
        return self.call(Job, "GET", f"/jobs/{quote(id, safe='')}")

    def jobs(self, limit: int = 20) -> list[Job]:
        """The newest jobs first."""
        return self.listed(Job, "jobs", limit)

    def wait(
        self, id: str, *, on_update: Callable[[Job], None] | None = None, poll_seconds: float = 0.5, timeout: float | None = None
    ) -> Job:
        """Returns the job once it succeeded; `on_update` gets every state on the way.

        Raises `JobFailed` if it fails or is cancelled, `WaitTimeout` after `timeout` seconds.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        while True:
            job = self.job(id)
            if on_update:
                on_update(job)
            if job.status == "succeeded":
                return job
            if job.ended:
                raise _failure(job)
            if deadline is not None and time.monotonic() >= deadline:
                raise WaitTimeout(f"Job {id} is still {job.status} after {timeout:g} s.", remedy=f"Watch it with 'gendistil watch {id}'.")
            time.sleep(poll_seconds)

    def cancel(self, id: str) -> Job:
        return self.call(Job, "POST", f"/jobs/{quote(id, safe='')}/cancel")

    def resume(self, id: str) -> Job:
        return self.call(Job, "POST", f"/jobs/{quote(id, safe='')}/resume")

    def report(self, id: str) -> Report:
        return self.call(Report, "GET", f"/jobs/{quote(id, safe='')}/report")

    def predict(self, student: str, inputs: str | Sequence[str], top_k: int = 1) -> Predictions:
        """`student`: `name`, `name@alias` or `name:version`. The predictions are in the order of `inputs`."""
        body = {"student": student, "inputs": inputs if isinstance(inputs, str) else list(inputs), "top_k": top_k}
        return self.call(Predictions, "POST", "/predict", json=body)

    def predict_file(
        self,
        student: str,
        file: Path,
        to: Path,
        *,
        keep: bool = False,
        on_update: Callable[[BulkPrediction], None] | None = None,
        **options: Unpack[BulkOptions],
    ) -> BulkPrediction:
        """Predicts each row of a CSV or JSON Lines file into the file `to`: CSV if it is called so, else JSON Lines.

        The rows are in their order, with all their columns. `keep`: the service keeps the file and the result, see `bulk`. A
        `KeyboardInterrupt` cancels the work. Raises `JobFailed` if it fails.
        """
        sent = self.bulk.send(student, file, **options)
        try:
            ended = self.bulk.wait(sent.id, on_update=on_update)
        except KeyboardInterrupt:
            self.bulk.cancel(sent.id)
            self.bulk.delete(sent.id)
            raise
        self.bulk.save(sent.id, to)
        if not keep:
            self.bulk.delete(sent.id)
        return ended

    def students(self, limit: int = 100) -> list[Student]:
        return self.listed(Student, "students", limit)

    def student(self, name: str) -> Student:
        return self.call(Student, "GET", f"/students/{quote(name, safe='')}")

    def point_alias(self, name: str, alias: str, version: int, reason: str | None = None) -> Alias:
        """Makes `name@alias` mean a version; `latest` is what a plain name means."""
        body = _given(version=version, reason=reason)
        return self.call(Alias, "PUT", f"/students/{quote(name, safe='')}/aliases/{quote(alias, safe='')}", json=body)

    def roll_back(self, name: str, alias: str = "latest", reason: str | None = None) -> Alias:
        """Makes `name@alias` mean the version that it meant before; called again, the one before that."""
        path = f"/students/{quote(name, safe='')}/aliases/{quote(alias, safe='')}/rollback"
        return self.call(Alias, "POST", path, json=_given(reason=reason))

    def download(self, student: str, to: Path = Path()) -> Path:
        """Saves a student as a zip that runs without this service: in the folder `to`, or as the file `to`. Returns the file."""
        return self.saved(f"/students/{quote(student, safe='')}/download", to)

    def saved(self, path: str, to: Path, headers: Mapping[str, str] | None = None) -> Path:
        """Saves an answer: in the folder `to`, under the service's name for it, or as the file `to`. Returns the file."""
        try:
            with self._http.stream("GET", path, headers=headers) as response:
                if response.is_error:
                    response.read()
                    raise from_response(response)
                target = to / _filename(response) if to.is_dir() else to
                part = target.with_name(f"{target.name}.part")
                try:
                    with part.open("wb") as file:
                        file.writelines(response.iter_bytes())
                    part.replace(target)
                finally:
                    part.unlink(missing_ok=True)
        except httpx.TransportError as error:
            raise from_transport(error, self.base_url) from error
        except OSError as error:
            raise GendistilError(f"{to} cannot be written: {error.strerror}.", remedy="Check the folder and its permissions.") from error
        return target

    def import_student(self, file: Path, *, name: str | None = None, promote: bool = False) -> PublishedVersion:
        """Publishes what `download` saved, here or from another service. `promote` moves `latest` to it."""
        content, headers = _read(file), {"Content-Type": "application/zip"}
        params = _given(name=name, promote=promote)
        return self.call(PublishedVersion, "POST", "/students/import", content=content, params=params, headers=headers)

    def presets(self) -> list[Preset]:
        return self.call(Catalogue, "GET", "/presets").presets

    def delete_job(self, id: str) -> None:
        """Removes an ended job and what it alone made; a student that it published must be deleted first."""
        self.request("DELETE", f"/jobs/{quote(id, safe='')}")

    def delete_student(self, name: str, version: int | None = None) -> None:
        """Removes one version, or the student with all versions and aliases."""
        self.request("DELETE", f"/students/{quote(name, safe='')}" + ("" if version is None else f"/versions/{version}"))

    def delete_dataset(self, id: str) -> None:
        """Removes a dataset whose jobs were deleted."""
        self.request("DELETE", f"/datasets/{quote(id, safe='')}")

    def collect_garbage(self, *, dry_run: bool = False) -> Collection:
        """Removes what no dataset, job or student uses; with `dry_run` only tells what that is."""
        return self.call(Collection, "POST", "/maintenance/gc", params={"dry_run": dry_run})

    def listed(self, model: type[AnswerT], name: str, limit: int) -> list[AnswerT]:
        """The first items of the list `/name`, over as many pages as they take."""
        return list(self._list(model, name, limit))

    def _list(self, model: type[AnswerT], name: str, limit: int) -> Iterator[AnswerT]:
        after: str | None = None
        while limit > 0:
            page = self.request("GET", f"/{name}", params=_given(limit=min(limit, PAGE), after=after))
            if not isinstance(page, dict) or not isinstance(page.get("items"), list):
                raise _unexpected(f"{self.base_url}/{name}", f"no list of {name}")
            for item in page["items"]:
                yield self._parse(model, item, f"/{name}")
            limit -= len(page["items"])
            after = page.get("next_after")
            if not page.get("has_more") or after is None:
                return

    def _post_files(
        self,
        path: str,
        rows: Sequence[Row] | None,
        file: Path | None,
        test: Sequence[Row] | None,
        test_file: Path | None,
        fields: dict[str, Any],
        **options: Any,
    ) -> Any:
        files = {}
        for part, part_rows, part_file in (("file", rows, file), ("test_file", test, test_file)):
            if part_file is not None:
                files[part] = (part_file.name, _read(part_file))
            elif part_rows is not None:
                files[part] = (f"{part}.jsonl", "\n".join(json.dumps(dict(row)) for row in part_rows).encode())
        return self.request("POST", path, files=files, data=fields, **options)

    def request(self, method: str, path: str, **options: Any) -> Any:
        """Any call of the service: its decoded answer, None if that is empty. `options`: of `httpx.Client.request`."""
        try:
            response = self._http.request(method, path, **options)
        except httpx.TransportError as error:
            raise from_transport(error, self.base_url) from error
        if response.is_error:
            raise from_response(response)
        if response.status_code == NO_CONTENT:
            return None
        try:
            return response.json()
        except ValueError as error:
            raise _unexpected(f"{self.base_url}{path}", "no JSON") from error

    def call(self, model: type[AnswerT], method: str, path: str, **options: Any) -> AnswerT:
        """As `request`, for an answer of that model."""
        return self._parse(model, self.request(method, path, **options), path)

    def _parse(self, model: type[AnswerT], answer: Any, path: str) -> AnswerT:
        try:
            return model.model_validate(answer)
        except ValidationError as error:
            raise _unexpected(f"{self.base_url}{path}", f"no {model.__name__.lower()}") from error


def _host(url: str) -> str:
    try:
        parts = urlsplit(url)
        if parts.scheme in {"http", "https"} and parts.hostname and " " not in url:
            return parts.hostname
    except ValueError:  # such as an address in brackets that is not closed
        pass
    raise GendistilError(f"{url!r} is no address of a service.", remedy=f"Give one such as {DEFAULT_URL}.")


def _unexpected(url: str, what: str) -> GendistilError:
    return GendistilError(f"{url} answered {what}.", remedy="Is this address a gendistil service of this version?")


def _source(**sources: object) -> str:
    given = [name for name, value in sources.items() if value is not None]
    if len(given) != 1:
        raise GendistilError(f"Exactly one of {', '.join(sources)} must be given.", remedy=f"Given: {', '.join(given) or 'none'}.")
    return given[0]


def _given(**fields: Any) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value is not None}


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise GendistilError(f"{path} cannot be read: {error.strerror}.", remedy="Check the file's name and its permissions.") from error


def _filename(response: httpx.Response) -> str:
    """The service's name for it, if that is a plain one."""
    found = re.search(r'filename="([a-z0-9][a-z0-9_.-]*\.(?:zip|csv|jsonl))"', response.headers.get("content-disposition", ""))
    return found[1] if found else "download"


def _failure(job: Job) -> JobFailed:
    fault = job.error
    if job.status == "cancelled" or fault is None:
        return JobFailed(f"Job {job.id} was {job.status}.", remedy=f"Go on with it: POST /jobs/{job.id}/resume.")
    where = f" in {fault.stage}" if fault.stage else ""
    return JobFailed(f"Job {job.id} failed{where}: {fault.detail}", type=fault.type or "urn:gendistil:job-failed", remedy=fault.remedy)
