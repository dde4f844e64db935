"""POST /jobs: from a JSON body or a multipart form to a job."""

from dataclasses import dataclass
from typing import Any, TypeVar

from fastapi import Request
from fastapi.concurrency import run_in_threadpool
from pydantic import BaseModel, ValidationError

from app.config import Limits, get_settings
from app.contracts.spec import JobSpec
from app.database import transaction
from app.datasets.json_format import load_json
from app.datasets.parsing import RawRow, parse_inline
from app.datasets.service import get_dataset, prepare_rows, store_rows
from app.datasets.uploads import bad_field, content_type_of, read_json, read_upload
from app.errors import FieldError, ServiceError
from app.idempotency import Ticket, earlier_answer, fingerprint, keep_answer
from app.jobs.schemas import InlineDataset, JobOptions, JobRequest
from app.jobs.service import create_job
from app.jobs.spec_errors import checked_spec
from app.jobs.views import job_out, stage_history
from app.storage import get_storage

Options = TypeVar("Options", bound=JobOptions)
_NAME_REMEDY = "1 to 63 lower-case letters, digits, '.', '_' and '-', with a letter or digit first."
_CURL = "With curl: -F file=@rows.csv -F name=triage -F preset=fast"
_TAGS = ("id", "inline")  # of the two kinds of dataset, which pydantic puts into the paths of its errors


@dataclass(frozen=True, slots=True)
class Submission:
    """A request whose options and spec are checked, and whose rows are not. `dataset_id` if it brings no rows."""

    options: JobOptions
    preset: str
    spec: JobSpec
    dataset_id: str | None
    rows: list[RawRow]
    test: list[RawRow]


async def read_submission(request: Request) -> Submission:
    """Raises `ServiceError`: 400 unreadable, 413 too large, 415 other format, 422 anything that the job cannot use."""
    limits = get_settings().limits
    content_type = content_type_of(request)
    if content_type == "multipart/form-data":
        return await _from_form(request, limits)
    if content_type not in {"", "application/json"}:
        remedy = f"Send application/json or multipart/form-data. {_CURL}"
        raise ServiceError(415, "unsupported-format", f"A job cannot be read from {content_type!r}.", remedy=remedy)
    body = _validated(JobRequest, await read_json(request, limits))
    preset, spec = _checked(body)
    if isinstance(body.dataset, str):
        return Submission(body, preset, spec, body.dataset, [], [])
    rows, test = await run_in_threadpool(_inline_rows, body.dataset, limits)
    return Submission(body, preset, spec, None, rows, test)


def submit(submission: Submission, key: str | None = None) -> tuple[dict[str, Any], bool]:
    """Stores dataset and job in one transaction; the job as JSON, and whether it is that of an earlier request with this key.

    Raises `ServiceError`: 404 no such dataset, 409 name taken, 422 bad rows, or a key that another request had.
    """
    ticket = Ticket(key, _fingerprint(submission)) if key is not None else None
    # Before the transaction, which on SQLite keeps all other writers waiting.
    prepared = prepare_rows(submission.rows, submission.test, get_settings().limits) if submission.dataset_id is None else None
    with transaction() as session:
        if ticket and (answer := earlier_answer(session, ticket)) is not None:
            return answer, True
        if prepared is not None:
            dataset = store_rows(session, prepared, get_storage())
        else:
            dataset = get_dataset(session, submission.dataset_id or "", keep=True)
        job = create_job(
            session,
            name=submission.options.name,
            dataset=dataset,
            preset=submission.preset,
            spec=submission.spec,
            replace_dataset=submission.options.replace_dataset,
            promote=submission.options.promote,
            promote_reason=submission.options.promote_reason,
        )
        answer = job_out(job, stage_history(session)).model_dump(mode="json")
        if ticket:
            keep_answer(session, ticket, job.id, answer)
        return answer, False


def _fingerprint(submission: Submission) -> str:
    options = submission.options.model_dump(mode="json", exclude={"dataset"})
    rows = [[[row.row, row.text, row.label] for row in part] for part in (submission.rows, submission.test)]
    return fingerprint("POST", "/jobs", [options, submission.dataset_id, rows])


async def _from_form(request: Request, limits: Limits) -> Submission:
    upload = await read_upload(request, limits, require_file=False)
    fields: dict[str, Any] = dict(upload.fields)
    dataset_id = fields.pop("dataset", None)
    if dataset_id is not None and upload.rows:
        raise bad_field("dataset", "and the file `file` are both given", "Send either the id of a dataset or a file.")
    if dataset_id is None and not upload.rows:
        raise bad_field("file", "is missing", f"Send the rows as a file, or the id of a dataset as `dataset`. {_CURL}")
    if "spec" in fields:
        fields["spec"] = load_json(fields["spec"], "field `spec`")
    options = _validated(JobOptions, fields)
    preset, spec = _checked(options)
    return Submission(options, preset, spec, dataset_id, upload.rows, upload.test)


def _checked(options: JobOptions) -> tuple[str, JobSpec]:
    preset = options.preset if options.preset is not None else get_settings().default_preset
    return preset, checked_spec(preset, options.spec)


def _inline_rows(dataset: InlineDataset, limits: Limits) -> tuple[list[RawRow], list[RawRow]]:
    columns = {"text_column": dataset.text_column, "label_column": dataset.label_column}
    rows = parse_inline(dataset.rows, max_rows=limits.max_rows, **columns)
    return rows, parse_inline(dataset.test, max_rows=limits.max_rows, **columns) if dataset.test else []


def _validated(model: type[Options], value: Any) -> Options:
    try:
        return model.model_validate(value)
    except ValidationError as error:
        errors = [_field_error(model, item["loc"], item["msg"], item["type"]) for item in error.errors()]
        detail = "; ".join(f"{fault.column or 'body'}: {fault.detail}" for fault in errors[:3])
        raise ServiceError(422, "invalid-request", detail, remedy=errors[0].remedy, errors=errors, errors_total=len(errors)) from None


def _field_error(model: type[BaseModel], path: tuple[int | str, ...], message: str, kind: str) -> FieldError:
    if path[:1] == ("dataset",) and path[1:2] and path[1] in _TAGS:
        path = ("dataset", *path[2:])
    column = ".".join(map(str, path))
    if column == "name":
        return FieldError(column=column, detail=message, remedy=_NAME_REMEDY)
    if kind == "extra_forbidden":
        known = InlineDataset.model_fields if len(path) > 1 else model.model_fields
        return FieldError(column=column, detail="there is no such field", remedy=f"Known: {', '.join(known)}.")
    remedy = 'Send an object: {"name", "dataset", "preset", "spec"}.' if not path else "See /docs for what this call takes."
    return FieldError(column=column or None, detail=message, remedy=remedy)
