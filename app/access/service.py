"""Keys and the audit log. Callers commit."""

import secrets
from contextlib import nullcontext
from datetime import datetime
from typing import cast

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.access.keys import make_key
from app.access.rights import find_project, is_operator, project_asked, require
from app.access.schemas import AuditOut, KeyIn, KeyOut, NewKeyOut
from app.audit import record
from app.errors import FieldError, ServiceError, not_found
from app.lookups import newest_first, storable
from app.ownership import every_project, in_project
from app.principals import Scope, current_principal
from app.tables import ApiKey, AuditEntry, utcnow


def create_key(session: Session, wanted: KeyIn, *, actor: str | None = None) -> NewKeyOut:
    """Raises `ServiceError`: 403 for a project or a scope that the caller does not have, 404, 422 for one that would have expired."""
    project = project_asked(wanted.project)
    require(wanted.scopes)
    if wanted.expires_at is not None and wanted.expires_at <= utcnow():
        fault = FieldError(column="expires_at", detail="it has passed")
        raise ServiceError(422, "invalid-request", "expires_at has passed.", remedy="Send a later time, or leave it out.", errors=[fault])
    find_project(session, project, share=True)
    made = make_key()
    row = ApiKey(
        project_id=project,
        id=f"key_{secrets.token_hex(8)}",
        prefix=made.prefix,
        digest=made.digest,
        name=wanted.name,
        scopes=sorted(set(wanted.scopes)),
        texts_per_second=wanted.texts_per_second,
        expires_at=wanted.expires_at,
        revoked_at=None,
        last_used_at=None,
    )
    session.add(row)
    session.flush()
    with in_project(project):
        record(session, "key.created", row.id, {"name": row.name, "scopes": row.scopes}, actor=actor)
    return NewKeyOut(**key_out(row).model_dump(), key=made.text)


def list_keys(session: Session, *, limit: int, after: str | None, project: str | None = None) -> tuple[list[KeyOut], bool]:
    """Newest first, those that were revoked too, and whether there are more. Raises `ServiceError` 403, or 422 for an unknown `after`."""
    with in_project(project_asked(project)):
        rows, has_more = newest_first(session, select(ApiKey), ApiKey, limit=limit, after=after)
    return [key_out(row) for row in rows], has_more


def revoke_key(session: Session, key_id: str) -> KeyOut:
    """Once for all; again it changes nothing. An operator finds those of all projects.

    Raises `ServiceError`: 403 for one that may do what the caller may not, 404, 409 for the key that asks.
    """
    row = _find_key(session, key_id)
    if row is None:
        raise not_found("key", key_id[:60], "GET /keys lists them.")
    principal = current_principal.get()
    if principal is not None and principal.key_id == key_id:
        raise ServiceError(409, "key-in-use", "A key cannot revoke itself.", remedy="Revoke it by another key with the scope `admin`.")
    require(cast(list[Scope], row.scopes))
    if row.revoked_at is None:
        row.revoked_at = utcnow()
        with in_project(row.project_id):
            record(session, "key.revoked", row.id, {"name": row.name})
    return key_out(row)


def list_audit(
    session: Session, *, limit: int, after: int | None, subject: str | None, since: datetime | None, project: str | None = None
) -> tuple[list[AuditOut], bool]:
    """Newest first, and whether there are more. Raises `ServiceError` 403."""
    query = select(AuditEntry).order_by(AuditEntry.id.desc()).limit(limit + 1)
    if after is not None:
        query = query.where(AuditEntry.id < after)
    if subject is not None:
        query = query.where(AuditEntry.subject == subject)
    if since is not None:
        query = query.where(AuditEntry.at >= since)
    with in_project(project_asked(project)):
        rows = list(session.scalars(query))
    return [AuditOut.model_validate(row, from_attributes=True) for row in rows[:limit]], len(rows) > limit


def _find_key(session: Session, key_id: str) -> ApiKey | None:
    if not storable(key_id):
        return None
    with every_project() if is_operator() else nullcontext():
        return session.get(ApiKey, key_id, with_for_update=True)


def key_out(row: ApiKey) -> KeyOut:
    return KeyOut.model_validate(row, from_attributes=True)
