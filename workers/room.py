"""Whether there is room for what a stage will make, asked before it is made."""

import errno
import statistics

from app.contracts.estimates import DataFigures
from app.contracts.footprint import artefact_bytes
from app.contracts.models import EMBEDDED_PREFIX
from app.contracts.spec import JobSpec
from app.contracts.stages import Stage
from app.storage import BlobStore
from workers.training.split import Split


def check_room(stage: Stage, spec: JobSpec, split: Split, has_test: bool, storage: BlobStore) -> None:
    """Raises `OSError` with ENOSPC: hours of work should not end at a full disk. Models of unknown size are let through."""
    if not all(model.startswith(EMBEDDED_PREFIX) for model in (spec.teacher.model, spec.generator.model)):
        return
    rows = split.train + split.validation + split.holdout
    test = len(split.holdout) if has_test else 0
    data = DataFigures(len(rows) - test, test, statistics.mean(len(row.text) for row in rows), len(split.labels))
    needed = artefact_bytes(spec, data)[stage]
    for free, what in ((storage.scratch_free_bytes(), "this worker's disk"), (storage.free_bytes(), "the blob store")):
        if free is not None and free < needed:
            detail = f"{stage} will write about {needed / 1e6:,.0f} MB, and {what} has {free / 1e6:,.0f} MB left"
            raise OSError(errno.ENOSPC, detail)
