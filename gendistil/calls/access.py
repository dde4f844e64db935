"""API keys, and the log of who did what. All of it needs a key with the scope `admin`, where keys are asked for."""

from collections.abc import Sequence
from datetime import datetime

from gendistil.models import AuditEntry, Key, NewKey
from gendistil.steps import Flow, fetched, given, listed


def create(
    name: str,
    scopes: Sequence[str],
    *,
    expires_at: datetime | None = None,
    texts_per_second: float | None = None,
    project: str | None = None,
) -> Flow[NewKey]:
    """The answer alone has the key.

    `scopes`: of read, predict, write, admin, metrics and operator. `expires_at`: None for ever. `texts_per_second`: that it may send for
    predictions, None for any number. `project`: None for that of the key that asks.
    """
    wanted = given(name=name, scopes=[*scopes], expires_at=_told(expires_at), texts_per_second=texts_per_second, project=project)
    return fetched(NewKey, "POST", "/keys", json=wanted)


def all_keys(limit: int = 100, *, project: str | None = None) -> Flow[list[Key]]:
    """The newest first, those that have expired or were revoked too. `project`: None for that of the key that asks."""
    return listed(Key, "/keys", limit=limit, project=project)


def revoke(id: str) -> Flow[Key]:
    """Once for all, within a second. The key that asks cannot be revoked."""
    return fetched(Key, "DELETE", "/keys/{key_id}", id)


def audit(
    limit: int = 100, *, subject: str | None = None, since: datetime | None = None, project: str | None = None
) -> Flow[list[AuditEntry]]:
    """Who made, changed or deleted what, the newest first.

    `subject`: id or name of what it was done to. `project`: None for that of the key that asks.
    """
    return listed(AuditEntry, "/audit", limit=limit, subject=subject, since=_told(since), project=project)


def _told(moment: datetime | None) -> str | None:
    """One without a zone is meant in this machine's."""
    return moment.astimezone().isoformat() if moment else None
