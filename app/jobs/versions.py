"""Numbers of a student's versions: each is given out once, so that `name:version` never comes to mean another model."""

from contextlib import suppress
from typing import Any

from sqlalchemy import case, func, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from app.tables import RetiredVersion, Student


def add_version(session: Session, name: str, *, job_id: str | None, kind: str, artefact_key: str, manifest: dict[str, Any]) -> Student:
    """Adds the student as the next version of its name. The caller commits."""
    while True:
        version = _next_version(session, name)
        student = Student(name=name, version=version, job_id=job_id, kind=kind, artefact_key=artefact_key, manifest=manifest)
        try:
            with session.begin_nested():
                session.add(student)
        except IntegrityError:  # another transaction took the version
            continue
        return student


def _next_version(session: Session, name: str) -> int:
    """One above all there are and ever were."""
    taken = session.scalar(select(func.max(Student.version)).where(Student.name == name)) or 0
    retired = session.scalar(select(RetiredVersion.version).where(RetiredVersion.name == name)) or 0
    return max(taken, retired) + 1


def retire_version(session: Session, name: str, version: int) -> None:
    """Notes a version that is being deleted. The caller commits."""
    higher = case((RetiredVersion.version < version, version), else_=RetiredVersion.version)
    raised = update(RetiredVersion).where(RetiredVersion.name == name).values(version=higher).returning(RetiredVersion.name)
    while not session.execute(raised).first():
        # Another transaction may insert the row between the two statements; then the UPDATE finds it.
        with suppress(IntegrityError), session.begin_nested():
            session.add(RetiredVersion(name=name, version=version))
