"""Which version shadows a name, and how it does."""

import re
from contextlib import suppress

from sqlalchemy import select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from app.audit import record
from app.errors import not_found
from app.jobs.schemas import NAME_PATTERN
from app.ownership import current_project
from app.students.schemas import ShadowOut, ShadowTarget
from app.students.service import get_student, unknown_name, unknown_part
from app.tables import Shadow, Student, utcnow

_BEGUN = {"texts": 0, "agreed": 0, "dropped": 0, "failed": 0, "seconds": 0.0, "shadow_seconds": 0.0}


def put_shadow(session: Session, name: str, target: ShadowTarget) -> ShadowOut:
    """Raises `ServiceError` 404. The figures go on if only the share changes."""
    if not re.fullmatch(NAME_PATTERN, name):
        raise unknown_name(session, name)
    # Kept from being deleted before the shadow is there.
    query = select(Student.id).where(Student.name == name, Student.version == target.version)
    if session.scalar(query.with_for_update(read=True, key_share=True)) is None:
        raise unknown_part(session, name, f"has no version {target.version}")
    while (row := session.scalar(select(Shadow).where(Shadow.name == name).with_for_update())) is None:
        # Another transaction may insert the row between the two statements; then the SELECT finds it.
        with suppress(IntegrityError), session.begin_nested():
            session.add(Shadow(name=name, version=target.version, share=target.share, **_BEGUN))
    if row.version != target.version:
        row.version, row.created_at = target.version, utcnow()
        for figure, begun in _BEGUN.items():
            setattr(row, figure, begun)
    row.share = target.share
    record(session, "shadow.set", name, {"version": target.version, "share": target.share})
    session.flush()
    return _out(row)


def get_shadow(session: Session, name: str) -> ShadowOut:
    """Raises `ServiceError` 404."""
    return _out(_found(session, name))


def delete_shadow(session: Session, name: str) -> None:
    """Raises `ServiceError` 404."""
    session.delete(_found(session, name))


def _found(session: Session, name: str) -> Shadow:
    get_student(session, name)
    row = session.get(Shadow, (current_project(), name))
    if row is None:
        raise not_found("shadow", name, f"Set one: PUT /students/{name}/shadow.")
    return row


def _out(row: Shadow) -> ShadowOut:
    done = row.texts or None
    return ShadowOut(
        name=row.name,
        version=row.version,
        share=row.share,
        since=row.created_at,
        texts=row.texts,
        agreed=row.agreed,
        agreement=row.agreed / done if done else None,
        milliseconds=1000 * row.seconds / done if done else None,
        shadow_milliseconds=1000 * row.shadow_seconds / done if done else None,
        dropped=row.dropped,
        failed=row.failed,
    )
