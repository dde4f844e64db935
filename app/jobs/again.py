"""POST /jobs/{id}/distil-again: the same job without some of its generated texts."""

from typing import Any

from pydantic import ValidationError

from app.contracts.reuse import expected_keys
from app.contracts.spec import MOST_REJECTED, JobSpec
from app.contracts.stages import Stage
from app.contracts.texts import KEPT, REJECTED
from app.database import read_session_factory
from app.errors import FieldError, ServiceError
from app.jobs.row_removal import leaves_no_rows
from app.jobs.schemas import DistilAgain, JobOptions
from app.jobs.service import artefact_of, get_job
from app.jobs.submission import Submission, submit
from app.jobs.synthetic import generated_texts
from app.jobs.text_index import TextIndex
from app.storage import BlobStore, get_storage
from app.tables import Job

_LISTED = 20


def distil_again(job_id: str, wanted: DistilAgain, key: str | None = None) -> tuple[dict[str, Any], bool]:
    """Submits the job's dataset, preset and spec again, with `wanted.rejected` added to those it did without.

    Teacher, generator and texts are found again by their content, so only what follows is made anew. Returns what `submit` does. Raises
    `ServiceError` as that, and: 404 no such job; 409 its texts are not there, or its spec is of another version; 422 for an id that is not
    that of a kept text, or if none would be left.
    """
    storage = get_storage()
    with read_session_factory()() as session:
        job = get_job(session, job_id)
    if leaves_no_rows(job):
        detail = "The job's rows and texts were removed, as its spec asks (privacy.keep_rows is false)."
        raise ServiceError(409, "rows-removed", detail, remedy="POST the rows again as a new job.")
    # From here on without a connection: the texts may have to be fetched, and read.
    spec = _spec(job)
    rejected = _rejected(_index(storage, job, spec), spec, wanted.rejected)
    label = spec.label.model_copy(update={"rejected": rejected})
    spec = spec.model_copy(update={"label": label})
    options = JobOptions(
        name=job.name,
        preset=job.preset,
        spec=spec.model_dump(mode="json"),
        replace_dataset=wanted.replace_dataset,
        promote=wanted.promote,
        promote_reason=wanted.promote_reason,
    )
    return submit(Submission(options, job.preset, spec, job.dataset_id, [], []), key)


def _spec(job: Job) -> JobSpec:
    try:
        return JobSpec.model_validate(job.spec)
    except ValidationError:
        detail = "The job's spec is that of an earlier version, and cannot be used any more."
        raise ServiceError(409, "outdated-spec", detail, remedy="POST /jobs with the same dataset starts a new one.") from None


def _index(storage: BlobStore, job: Job, spec: JobSpec) -> TextIndex:
    texts = generated_texts(storage, job)
    generate = artefact_of(job, Stage.GENERATE)
    expected = expected_keys(spec, job.dataset.lineage_hash)[Stage.GENERATE]
    is_found_again = generate is not None and expected in (None, generate) and storage.manifest(generate) is not None
    if texts is not None and not is_found_again:
        # Sampled anew, on other hardware or by a later version say, they might be others under the same ids.
        detail = "The texts as they were sampled are not in the blob store any more."
        raise ServiceError(409, "texts-gone", detail, remedy="POST the job again, and reject texts of the new job.")
    if texts is None or not len(texts.index):
        raise ServiceError(409, "no-texts", "The job generated no texts.", remedy="There is nothing to leave out.")
    return texts.index


def _rejected(index: TextIndex, spec: JobSpec, added: list[int]) -> tuple[int, ...]:
    kept, before = index.ids_with(KEPT), index.ids_with(REJECTED)
    if unknown := sorted(set(added) - kept - before):
        remedy = "Reject texts whose verdict is `kept`: GET /jobs/{id}/synthetic?verdict=kept lists them."
        faults = [FieldError(column="rejected", detail=_fault(index, number), remedy=remedy) for number in unknown[:_LISTED]]
        raise ServiceError(422, "unknown-texts", faults[0].detail, remedy=remedy, errors=faults, errors_total=len(unknown))
    if kept <= set(added):
        remedy = 'Keep some, or POST /jobs with "spec": {"generate": {"texts": 0}} to do without generation.'
        raise ServiceError(422, "no-texts-left", "No generated text would be left.", remedy=remedy)
    rejected = tuple(sorted({*added, *spec.label.rejected}))
    if len(rejected) > MOST_REJECTED:
        detail = f"{len(rejected):,} texts would be rejected in all; the most is {MOST_REJECTED:,}."
        raise ServiceError(422, "too-many-rejected", detail, remedy="Reject fewer, or change the rows and generate other texts.")
    return rejected


def _fault(index: TextIndex, number: int) -> str:
    return f"there is no text {number}" if number > len(index) else f"text {number} was dropped by the filters already"
