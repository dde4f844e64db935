"""API keys, and the log of who did what."""

from datetime import datetime
from typing import Any

from pydantic import Field

from gendistil.models.base import Answer


class Key(Answer):
    """`prefix`: how the key begins, after `gd_`. `texts_per_second`: for predictions; None: any number. `last_used_at`: to the minute."""

    id: str
    name: str
    prefix: str = ""
    scopes: list[str] = []
    texts_per_second: float | None = None
    created_at: datetime | None = None
    expires_at: datetime | None = None
    revoked_at: datetime | None = None
    last_used_at: datetime | None = None


class NewKey(Key):
    """`key` is shown this once."""

    key: str = Field(repr=False)


class AuditEntry(Answer):
    """`actor`: the name of the key; `key_id` is None where no key was asked for. `subject`: id or name of what it was done to."""

    id: int
    at: datetime
    key_id: str | None = None
    actor: str = ""
    action: str
    subject: str = ""
    detail: dict[str, Any] = {}
    request_id: str | None = None
