"""Compares a student that is about to be published with the version that `latest` means now."""

import logging

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.contracts.comparison import Comparison
from app.jobs.aliases import LATEST
from app.logs import QUIET
from app.storage import STORAGE_AWAY
from app.tables import Alias, Job, Student
from workers.attempt import persist
from workers.execution import StageExecution
from workers.training.champion import Champion, compare

logger = logging.getLogger(__name__)


def compare_with_latest(execution: StageExecution) -> Comparison:
    """`execution`: of a publish stage whose artefact is there. Raises `Lost` if that is damaged or gone.

    A champion that cannot be read or run is no obstacle to the new version.
    """
    found = _latest(execution.context.job_id)
    if found is None:
        return Comparison(champion=None)
    version, key = found
    new = execution.fetch(execution.stage, execution.key)
    try:
        champion = Champion(version, execution.storage.fetch(key))
        return compare(execution.split, new, champion, execution.spec.publish)
    except STORAGE_AWAY:
        raise
    # tokenizers and onnxruntime raise bare and private exceptions; an hour's work must not fail for an older version's files.
    except Exception:
        logger.exception("version %s, artefact %s, could not be scored", version, key, extra=QUIET)
        return Comparison(champion=version, obstacle="its files cannot be read or run")


def _latest(job_id: str) -> tuple[int, str] | None:
    """Version and artefact key of the job's name."""
    found: list[tuple[int, str] | None] = []

    def read(session: Session) -> None:
        meant = (Alias.name == Student.name) & (Alias.version == Student.version) & (Alias.alias == LATEST)
        query = select(Student.version, Student.artefact_key).join(Alias, meant).join(Job, Job.name == Student.name)
        row = session.execute(query.where(Job.id == job_id)).first()
        found.append((row.version, row.artefact_key) if row else None)

    persist(read)
    return found[-1]
