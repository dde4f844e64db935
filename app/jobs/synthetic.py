"""Reads the generated texts of a job: `synthetic.jsonl` of its label stage, one object a line."""

import json
from collections.abc import Generator, Iterator
from contextlib import closing
from itertools import islice
from pathlib import Path

from app.contracts.stages import Stage
from app.errors import ServiceError
from app.jobs.schemas import SyntheticText
from app.jobs.service import artefact_of
from app.storage import BlobStore, TornArtefact
from app.tables import Job

SYNTHETIC_FILE = "synthetic.jsonl"
_CHUNK_LINES = 256


def synthetic_path(storage: BlobStore, job: Job) -> Path | None:
    """The job's texts, checked by hash; None if it generated none. Raises `ServiceError`: 409 before the label stage is done, 503."""
    key = artefact_of(job, Stage.LABEL)
    if key is None:
        detail = f"The job's texts are there once its stage {Stage.LABEL.value} has succeeded."
        raise ServiceError(409, "synthetic-not-ready", detail, remedy=f"See GET /jobs/{job.id} for its stages.")
    manifest = storage.manifest(key)
    if manifest is not None and SYNTHETIC_FILE not in manifest.files:
        return None
    try:
        return storage.fetch_file(key, SYNTHETIC_FILE)
    except (FileNotFoundError, TornArtefact):
        raise missing_artefact(job, key) from None


def missing_artefact(job: Job, key: str) -> ServiceError:
    detail = f"The artefact {key} of job {job.id} is not in the blob store, or is damaged."
    return ServiceError(503, "artefact-missing", detail, remedy="Restore the blob store, or run the job again.")


def synthetic_page(path: Path, *, after: int, limit: int, verdict: str | None) -> tuple[list[SyntheticText], bool]:
    """Texts with an id (the number of their line) above `after`, and whether there are more."""
    # closing: an abandoned generator would keep the file open until it is collected.
    with closing(_lines(path, after, verdict)) as lines:
        found = [SyntheticText(id=number, **json.loads(line)) for number, line in islice(lines, limit + 1)]
    return found[:limit], len(found) > limit


def synthetic_stream(path: Path, verdict: str | None) -> Iterator[bytes]:
    """The file's lines, many at a time."""
    with closing(_lines(path, 0, verdict)) as lines:
        while chunk := [line for _, line in islice(lines, _CHUNK_LINES)]:
            yield b"".join(chunk)


def _lines(path: Path, after: int, verdict: str | None) -> Generator[tuple[int, bytes]]:
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            if number > after and (verdict is None or json.loads(line)["verdict"] == verdict):
                yield number, line
