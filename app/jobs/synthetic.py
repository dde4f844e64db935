"""Reads the generated texts of a job: `synthetic.jsonl` of its label stage, one object a line."""

import json
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from app.contracts.stages import Stage
from app.contracts.texts import SYNTHETIC_FILE
from app.errors import ServiceError
from app.jobs.row_removal import leaves_no_rows
from app.jobs.schemas import SyntheticText
from app.jobs.service import artefact_of
from app.jobs.text_index import IndexCache, Rows, TextFilter, TextIndex
from app.storage import BlobStore, TornArtefact
from app.tables import Job

_CHUNK_LINES = 256
_indexes = IndexCache()


@dataclass(frozen=True, slots=True)
class GeneratedTexts:
    """A job's texts: the file, checked by hash, and where what is in it."""

    path: Path
    index: TextIndex

    def read(self, rows: Rows) -> list[SyntheticText]:
        # closing: an abandoned generator would keep the file open until it is collected.
        with closing(self.index.lines(self.path, rows)) as lines:
            return [SyntheticText(id=number, **json.loads(line)) for number, line in lines]

    def page(self, wanted: TextFilter, *, after: int, limit: int) -> tuple[list[SyntheticText], bool, int]:
        """Texts that match and come after the one with the id `after`, whether there are more, and how many match in all."""
        rows = self.index.matching(wanted)
        left = self.index.following(rows, wanted.order, after)
        return self.read(left[:limit]), len(left) > limit, len(rows)

    def stream(self, wanted: TextFilter) -> Iterator[bytes]:
        """The lines that match, many at a time."""
        with closing(self.index.lines(self.path, self.index.matching(wanted))) as lines:
            while chunk := [line for _, line in islice(lines, _CHUNK_LINES)]:
                yield b"".join(chunk)


def generated_texts(storage: BlobStore, job: Job) -> GeneratedTexts | None:
    """None if the job generated none. Raises `ServiceError`: 409 before the label stage is done, 410 removed, 503 if they are lost."""
    if leaves_no_rows(job):
        detail = "The job's texts were removed with its rows, as its spec asks (privacy.keep_rows is false)."
        raise ServiceError(410, "texts-removed", detail, remedy="POST the rows again with keep_rows true to look at generated texts.")
    key = artefact_of(job, Stage.LABEL)
    if key is None:
        detail = f"The job's texts are there once its stage {Stage.LABEL.value} has succeeded."
        raise ServiceError(409, "synthetic-not-ready", detail, remedy=f"See GET /jobs/{job.id} for its stages.")
    manifest = storage.manifest(key)
    if manifest is None:
        raise missing_artefact(job, key)
    if SYNTHETIC_FILE not in manifest.files:
        return None
    try:
        path = storage.fetch_file(key, SYNTHETIC_FILE)
    except (FileNotFoundError, TornArtefact):
        raise missing_artefact(job, key) from None
    return GeneratedTexts(path, _indexes.get(manifest.files[SYNTHETIC_FILE].sha256, path))


def missing_artefact(job: Job, key: str) -> ServiceError:
    detail = f"The artefact {key} of job {job.id} is not in the blob store, or is damaged."
    return ServiceError(503, "artefact-missing", detail, remedy="Restore the blob store, or run the job again.")
