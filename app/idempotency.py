"""`Idempotency-Key`: a request that is sent again gets the first one's answer, and does its work once.

The key is a row of the transaction that does the work. So it is there if and only if the work is, and of two requests at once the
second waits for the first one's commit.
"""

import hashlib
import json
from dataclasses import dataclass
from datetime import timedelta
from typing import Annotated, Any, TypeVar

from fastapi import Header
from sqlalchemy import Delete, Select, delete, func, select, text
from sqlalchemy.exc import IntegrityError, OperationalError
from sqlalchemy.orm import Session

from app.config import get_settings
from app.errors import FieldError, ServiceError
from app.ownership import current_project
from app.tables import IdempotencyKey, utcnow

HEADER = "Idempotency-Key"
REPLAYED = "Idempotency-Replayed"
MAX_LENGTH = 255
WAIT_SECONDS = 10
"""For another request under the same key; after it the caller is asked to come again."""
_LOCK_TIMEOUT = "55P03"
_Statement = TypeVar("_Statement", Select[Any], Delete)


@dataclass(frozen=True, slots=True)
class Ticket:
    """A key, and the hash of the request that was sent under it."""

    key: str
    fingerprint: str


IdempotencyKeyHeader = Annotated[
    str | None,
    Header(
        description="Sent again, the same request gets the first one's answer.",
        json_schema_extra={"minLength": 1, "maxLength": MAX_LENGTH, "pattern": r"^[\x20-\x7e]*$"},
    ),
]


def checked_key(header: str | None) -> str | None:
    """Raises `ServiceError` 400 unless the header is absent, or 1 to 255 printable ASCII characters."""
    if header is None or (1 <= len(header) <= MAX_LENGTH and header.isascii() and header.isprintable()):
        return header
    detail = f"The header {HEADER} holds no key: a key has 1 to {MAX_LENGTH} printable ASCII characters."
    remedy = "Send a new UUID for each request that is not a repetition."
    raise ServiceError(
        400, "invalid-idempotency-key", detail, remedy=remedy, errors=[FieldError(column=HEADER, detail=detail, remedy=remedy)]
    )


def fingerprint(method: str, path: str, content: Any) -> str:
    """SHA-256 of a request. `content` is what was read from the body, as the same form has another boundary each time it is sent."""
    written = json.dumps([method, path, content], sort_keys=True, separators=(",", ":"), default=str)
    return hashlib.sha256(written.encode("utf-8", "surrogatepass")).hexdigest()


def earlier_answer(session: Session, ticket: Ticket) -> dict[str, Any] | None:
    """The answer that was given under this key; None if there is none, and the key is then taken until the transaction ends.

    Raises `ServiceError`: 422 another request has used the key, 409 one is being worked on and takes long.
    """
    ttl = timedelta(seconds=get_settings().idempotency_seconds)
    while True:
        try:
            with session.begin_nested():
                _wait_at_most(session)
                session.add(IdempotencyKey(key=ticket.key, fingerprint=ticket.fingerprint))
                session.flush()
                _wait_for_ever(session)
            return None
        except IntegrityError:
            pass
        except OperationalError as error:
            if getattr(error.orig, "sqlstate", None) != _LOCK_TIMEOUT:
                raise
            detail = f"A request with this {HEADER} is being worked on."
            raise ServiceError(
                409, "request-in-progress", detail, remedy="Send it again in a few seconds.", headers={"Retry-After": "5"}
            ) from None
        known = session.scalar(select(IdempotencyKey).where(IdempotencyKey.key == ticket.key).execution_options(populate_existing=True))
        if known is None:
            continue
        if known.created_at < utcnow() - ttl:
            session.execute(delete(IdempotencyKey).where(IdempotencyKey.key == known.key, IdempotencyKey.created_at == known.created_at))
            continue
        if known.fingerprint != ticket.fingerprint:
            detail = f"Another request was sent with this {HEADER} at {known.created_at:%Y-%m-%d %H:%M:%S} UTC."
            raise ServiceError(422, "idempotency-key-reused", detail, remedy="Send a new key, or the same request as then.")
        return known.answer


def keep_answer(session: Session, ticket: Ticket, resource_id: str, answer: dict[str, Any]) -> None:
    """Stores the answer of the request that has taken the key. The caller commits."""
    row = session.get_one(IdempotencyKey, (current_project(), ticket.key))
    row.resource_id, row.answer = resource_id, answer


def forget(session: Session, resource_id: str) -> None:
    """What was made is being deleted: its request, sent again, is a new one."""
    session.execute(delete(IdempotencyKey).where(IdempotencyKey.resource_id == resource_id))


def count_expired(session: Session) -> int:
    return session.scalar(_expired(select(func.count()).select_from(IdempotencyKey))) or 0


def remove_expired(session: Session) -> int:
    """Returns the number of keys that were removed. The caller commits."""
    keys = session.scalars(_expired(select(IdempotencyKey.key)).order_by(IdempotencyKey.key).with_for_update(skip_locked=True)).all()
    for start in range(0, len(keys), 500):
        # Of those that have expired: another project may have the same key.
        session.execute(_expired(delete(IdempotencyKey).where(IdempotencyKey.key.in_(keys[start : start + 500]))))
    return len(keys)


def _expired(query: _Statement) -> _Statement:
    return query.where(IdempotencyKey.created_at < utcnow() - timedelta(seconds=get_settings().idempotency_seconds))


def _wait_at_most(session: Session) -> None:
    # SQLite's one write lock was taken when the transaction began.
    if session.get_bind().dialect.name == "postgresql":
        session.execute(text(f"SET LOCAL lock_timeout = '{WAIT_SECONDS}s'"))


def _wait_for_ever(session: Session) -> None:
    if session.get_bind().dialect.name == "postgresql":
        session.execute(text("SET LOCAL lock_timeout TO DEFAULT"))
