"""Published students: their versions, and the aliases that point at them."""

import difflib
import logging
import re

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.errors import FieldError, ServiceError, not_found
from app.jobs.aliases import LATEST, Cause, set_alias
from app.jobs.schemas import NAME_PATTERN
from app.students.schemas import ALIAS_PATTERN, StudentOut, StudentVersion
from app.tables import Alias, Student

logger = logging.getLogger(__name__)

_REFERENCE = re.compile(r"(?P<name>[^@:]+)(@(?P<alias>[^@:]+)|:(?P<version>[0-9]{1,9}))?", re.ASCII)
_FORMS = 'Write "name", "name@alias" or "name:version".'


def parse_reference(reference: str) -> re.Match[str]:
    """`name`, and `alias` or `version` or neither. Raises `ServiceError` 422 if it is malformed."""
    match = _REFERENCE.fullmatch(reference)
    if match is None:
        errors = [FieldError(column="student", detail="this names no student", remedy=_FORMS)]
        raise ServiceError(422, "invalid-request", f"{reference[:100]!r} names no student.", remedy=_FORMS, errors=errors)
    return match


def find_student(session: Session, reference: str) -> Student:
    """The version that `name`, `name@alias` or `name:version` means now. Raises `ServiceError`: 422 malformed, 404 unknown."""
    match = parse_reference(reference)
    name, number = match["name"], match["version"]
    if not re.fullmatch(NAME_PATTERN, name):
        raise unknown_name(session, name)
    query = select(Student).where(Student.name == name)
    if number:
        student = session.scalar(query.where(Student.version == int(number)))
        if student is not None:
            return student
        raise unknown_part(session, name, f"has no version {number}")
    alias = match["alias"] or LATEST
    known = re.fullmatch(ALIAS_PATTERN, alias)
    wanted = select(Alias.version).where(Alias.name == name, Alias.alias == alias).scalar_subquery()
    student = session.scalar(query.where(Student.version == wanted)) if known else None
    if student is not None:
        return student
    raise unknown_part(session, name, f"has no alias {alias[:60]!r}")


def list_students(session: Session, *, limit: int, after: str | None) -> tuple[list[StudentOut], bool]:
    """By name, and whether there are more."""
    query = select(Student.name).distinct().order_by(Student.name).limit(limit + 1)
    if after is not None:
        if not re.fullmatch(NAME_PATTERN, after):
            errors = [FieldError(column="query.after", detail="this is no student's name", remedy="Pass the last page's `next_after`.")]
            raise ServiceError(422, "unknown-cursor", f"{after[:60]!r} is no student's name.", remedy=errors[0].remedy, errors=errors)
        query = query.where(Student.name > after)
    names = list(session.scalars(query))
    return _described(session, names[:limit]), len(names) > limit


def get_student(session: Session, name: str) -> StudentOut:
    """Raises `ServiceError` 404."""
    found = _described(session, [name]) if re.fullmatch(NAME_PATTERN, name) else []
    if not found:
        raise unknown_name(session, name)
    return found[0]


def point_alias(session: Session, name: str, alias: str, version: int, reason: str | None = None) -> Alias:
    """Raises `ServiceError`: 404 no such student or version, 422 an alias that cannot be one."""
    if not re.fullmatch(ALIAS_PATTERN, alias):
        remedy = "1 to 63 lower-case letters, digits, '.', '_' and '-', with a letter first."
        errors = [FieldError(column="path.alias", detail="this cannot be an alias", remedy=remedy)]
        raise ServiceError(422, "invalid-request", f"{alias[:60]!r} cannot be an alias.", remedy=remedy, errors=errors)
    get_student(session, name)
    # Kept from being deleted before the alias points there.
    query = select(Student.id).where(Student.name == name, Student.version == version)
    if session.scalar(query.with_for_update(read=True, key_share=True)) is None:
        raise unknown_part(session, name, f"has no version {version}")
    return set_alias(session, name, alias, version, Cause.CALLER, reason)


def _described(session: Session, names: list[str]) -> list[StudentOut]:
    students = {name: StudentOut(name=name, versions=[], aliases={}) for name in names}
    for row in session.scalars(select(Student).where(Student.name.in_(names)).order_by(Student.version.desc())):
        students[row.name].versions.append(_version(row))
    for alias in session.scalars(select(Alias).where(Alias.name.in_(names)).order_by(Alias.alias)):
        students[alias.name].aliases[alias.alias] = alias.version
    return [student for student in students.values() if student.versions]


def _version(row: Student) -> StudentVersion:
    manifest = row.manifest
    return StudentVersion(
        name=row.name,
        version=row.version,
        kind=row.kind,
        labels=manifest["labels"],
        metrics=manifest["metrics"],
        parameters=manifest["parameters"],
        bytes=manifest["bytes"],
        max_tokens=manifest["max_tokens"],
        parity=manifest["parity"],
        precision=manifest.get("precision", "fp16"),
        selective=manifest.get("selective", []),
        scope_quantiles=manifest.get("scope_quantiles", {}),
        job_id=row.job_id,
        promotion=row.promotion,
        created_at=row.created_at,
    )


def broken_student(name: str, version: int, key: str, error: Exception) -> ServiceError:
    """A 503 for a version that is published, but whose artefact is missing, damaged or no student. The log gets the error in full."""
    logger.error("student %s:%s (artefact %s) cannot be served", name, version, key, exc_info=error)
    detail = f"The student {name}:{version} cannot be served: {error}"
    remedy = "Restore the blob store, use another version, or run its job's dataset again."
    return ServiceError(503, "student-broken", detail, remedy=remedy)


def unknown_name(session: Session, name: str) -> ServiceError:
    """A 404 that names those which are close."""
    known = list(session.scalars(select(Student.name).distinct()))
    close = difflib.get_close_matches(name, known, n=3)
    if close:
        remedy = f"Close to it: {', '.join(close)}."
    else:
        remedy = "GET /students lists the published ones." if known else "None is published yet: POST /jobs makes one."
    return not_found("student", name[:100], remedy)


def unknown_part(session: Session, name: str, what: str) -> ServiceError:
    """A 404 for a version or an alias, that names those there are; for an unknown name, the 404 of that."""
    described = _described(session, [name])
    if not described:
        return unknown_name(session, name)
    versions = [f"{name}:{student.version}" for student in described[0].versions[:10]]
    aliases = [f"{name}@{alias}" for alias in described[0].aliases]
    return ServiceError(404, "student-not-found", f"The student {name!r} {what}.", remedy=f"There are: {', '.join(versions + aliases)}.")
