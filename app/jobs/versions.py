"""Numbers of a student's versions: each is given out once, so that `name:version` never comes to mean another model."""

from contextlib import suppress

from sqlalchemy import case, func, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from app.tables import RetiredVersion, Student


def next_version(session: Session, name: str) -> int:
    """One above all there are and ever were. Another transaction may take it first; the unique constraint tells."""
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
