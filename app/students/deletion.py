"""DELETE of a student's version, of a student with all its versions, and of an alias.

Locks are taken in the order job, student, alias, as by a job that publishes.
"""

import re

from sqlalchemy import delete, func, select, update
from sqlalchemy.orm import Session

from app.contracts.stages import Stage
from app.database import transaction
from app.errors import ServiceError
from app.jobs.aliases import LATEST, Cause, drop_alias, set_alias
from app.jobs.lifecycle import lock_job
from app.jobs.schemas import NAME_PATTERN
from app.jobs.versions import retire_version
from app.references import drop_unused_artefacts
from app.storage import BlobStore
from app.students.service import unknown_name, unknown_part
from app.tables import Alias, Shadow, StageRun, Student, Traffic

_ALL = "all versions were deleted"


def delete_version(name: str, version: int, storage: BlobStore) -> None:
    """Removes one version; `latest`, if it pointed there, moves to the highest that is left.

    Raises `ServiceError`: 404, or 409 while another alias points there.
    """
    with transaction() as session:
        found = _locked(session, name, version)
        if not found:
            raise (
                unknown_part(session, name, f"has no version {version}")
                if re.fullmatch(NAME_PATTERN, name)
                else unknown_name(session, name)
            )
        pointing = [alias for alias in _locked_aliases(session, name) if alias.version == version]
        others = [alias.alias for alias in pointing if alias.alias != LATEST]
        if others:
            what = f"alias {others[0]!r} points" if len(others) == 1 else f"aliases {', '.join(map(repr, others))} point"
            remedy = f"Move or delete first: PUT or DELETE /students/{name}/aliases/{others[0]}."
            raise ServiceError(409, "version-in-use", f"The {what} at {name}:{version}.", remedy=remedy)
        keys = _remove(session, found)
        if pointing:
            highest = session.scalar(select(func.max(Student.version)).where(Student.name == name))
            if highest is None:
                drop_alias(session, pointing[0], f"the last version, {version}, was deleted")
            else:
                set_alias(session, name, LATEST, highest, Cause.DELETE, f"version {version} was deleted")
    drop_unused_artefacts(storage, keys)


def delete_student(name: str, storage: BlobStore) -> None:
    """Removes all versions and all aliases. Raises `ServiceError` 404."""
    with transaction() as session:
        found = _locked(session, name)
        if not found:
            raise unknown_name(session, name)
        aliases = _locked_aliases(session, name)
        keys = _remove(session, found)
        highest = session.scalar(select(func.max(Student.version)).where(Student.name == name))
        for alias in aliases:
            if highest is None:
                drop_alias(session, alias, _ALL)
            elif alias.alias == LATEST:  # a job has published a version meanwhile
                set_alias(session, name, LATEST, highest, Cause.DELETE, _ALL)
    drop_unused_artefacts(storage, keys)


def delete_alias(session: Session, name: str, alias: str) -> None:
    """Raises `ServiceError`: 404, or 422 for `latest`, which every student has."""
    if alias == LATEST:
        remedy = f"Point it elsewhere: PUT /students/{name[:63]}/aliases/{LATEST}."
        raise ServiceError(422, "alias-required", f"Every student has the alias {LATEST!r}.", remedy=remedy)
    known = re.fullmatch(NAME_PATTERN, name)
    row = next((row for row in _locked_aliases(session, name) if row.alias == alias), None) if known else None
    if row is None:
        raise unknown_part(session, name, f"has no alias {alias[:60]!r}") if known else unknown_name(session, name)
    drop_alias(session, row)


def _locked(session: Session, name: str, version: int | None = None) -> list[Student]:
    """The versions, each with its job, kept from all others until the transaction ends."""
    if not re.fullmatch(NAME_PATTERN, name):
        return []
    query = select(Student).where(Student.name == name, *([] if version is None else [Student.version == version]))
    for job_id in session.scalars(query.with_only_columns(Student.job_id).order_by(Student.job_id)).all():
        if job_id is not None:
            lock_job(session, job_id)
    return list(session.scalars(query.order_by(Student.version).with_for_update().execution_options(populate_existing=True)))


def _locked_aliases(session: Session, name: str) -> list[Alias]:
    query = select(Alias).where(Alias.name == name).order_by(Alias.alias)
    return list(session.scalars(query.with_for_update().execution_options(populate_existing=True)))


def _remove(session: Session, students: list[Student]) -> set[str]:
    """Keys of the artefacts that the versions were. Their jobs stay, and forget them."""
    keys = {student.artefact_key for student in students}
    for student in students:
        retire_version(session, student.name, student.version)
        published = StageRun.job_id == student.job_id, StageRun.stage == Stage.PUBLISH
        session.execute(update(StageRun).where(*published).values(artefact_key=None))
        for table in (Shadow, Traffic):
            session.execute(delete(table).where(table.name == student.name, table.version == student.version))
        session.delete(student)
    session.flush()
    return keys
