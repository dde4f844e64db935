"""Keys and the audit log. Callers commit."""

import secrets
from datetime import datetime

from sqlalchemy import select, tuple_
from sqlalchemy.orm import Session

from app.access.keys import make_key
from app.access.schemas import AuditOut, KeyIn, KeyOut, NewKeyOut
from app.audit import record
from app.errors import FieldError, ServiceError, not_found
from app.paging import unknown_cursor
from app.principals import current_principal
from app.tables import ApiKey, AuditEntry, utcnow


def create_key(session: Session, wanted: KeyIn, *, actor: str | None = None) -> NewKeyOut:
    """Raises `ServiceError` 422 for one that would have expired already."""
    if wanted.expires_at is not None and wanted.expires_at <= utcnow():
        fault = FieldError(column="expires_at", detail="it has passed")
        raise ServiceError(422, "invalid-request", "expires_at has passed.", remedy="Send a later time, or leave it out.", errors=[fault])
    made = make_key()
    row = ApiKey(
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
    record(session, "key.created", row.id, {"name": row.name, "scopes": row.scopes}, actor=actor)
    return NewKeyOut(**key_out(row).model_dump(), key=made.text)


def list_keys(session: Session, *, limit: int, after: str | None) -> tuple[list[KeyOut], bool]:
    """Newest first, those that were revoked too, and whether there are more."""
    query = select(ApiKey).order_by(ApiKey.created_at.desc(), ApiKey.id.desc()).limit(limit + 1)
    if after is not None:
        anchor = session.get(ApiKey, after)
        if anchor is None:
            raise unknown_cursor(after)
        query = query.where(tuple_(ApiKey.created_at, ApiKey.id) < (anchor.created_at, anchor.id))
    rows = list(session.scalars(query))
    return [key_out(row) for row in rows[:limit]], len(rows) > limit


def revoke_key(session: Session, key_id: str) -> KeyOut:
    """Once for all; again it changes nothing. Raises `ServiceError`: 404, 409 for the key that asks."""
    row = session.get(ApiKey, key_id, with_for_update=True)
    if row is None:
        raise not_found("key", key_id, "GET /keys lists them.")
    principal = current_principal.get()
    if principal is not None and principal.key_id == key_id:
        raise ServiceError(409, "key-in-use", "A key cannot revoke itself.", remedy="Revoke it by another key with the scope `admin`.")
    if row.revoked_at is None:
        row.revoked_at = utcnow()
        record(session, "key.revoked", row.id, {"name": row.name})
    return key_out(row)


def list_audit(
    session: Session, *, limit: int, after: int | None, subject: str | None, since: datetime | None
) -> tuple[list[AuditOut], bool]:
    """Newest first, and whether there are more."""
    query = select(AuditEntry).order_by(AuditEntry.id.desc()).limit(limit + 1)
    if after is not None:
        query = query.where(AuditEntry.id < after)
    if subject is not None:
        query = query.where(AuditEntry.subject == subject)
    if since is not None:
        query = query.where(AuditEntry.at >= since)
    rows = list(session.scalars(query))
    return [AuditOut.model_validate(row, from_attributes=True) for row in rows[:limit]], len(rows) > limit


def key_out(row: ApiKey) -> KeyOut:
    return KeyOut.model_validate(row, from_attributes=True)
