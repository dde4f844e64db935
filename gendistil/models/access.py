"""API keys, projects, and the log of who did what."""

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
    project: str = "default"


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
    project: str = "default"


class ProjectUsage(Answer):
    """`bytes`: in the store; `minutes_this_month`: of workers' time, since its first day (UTC)."""

    jobs_open: int = 0
    jobs_running: int = 0
    rows: int = 0
    bytes: int = 0
    minutes_this_month: float = 0.0


class Project(Answer):
    """Whose rows others do not see, with its quotas; None: any number."""

    id: str
    created_at: datetime | None = None
    jobs_running: int | None = None
    jobs_open: int | None = None
    rows: int | None = None
    bytes: int | None = None
    minutes_per_month: float | None = None
    texts_per_second: float | None = None


class ProjectDetail(Project):
    """With what it uses now."""

    usage: ProjectUsage
