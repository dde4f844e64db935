"""The service itself: whether it is ready, what it offers, what it clears away."""

from typing import Any

from gendistil.models.base import Answer


class Check(Answer):
    ok: bool
    error: str | None = None


class Readiness(Answer):
    """`checks`: database, redis, storage."""

    ready: bool
    checks: dict[str, Check] = {}


class Preset(Answer):
    name: str
    summary: str = ""
    default: bool = False
    spec: dict[str, Any] = {}


class StudentKind(Answer):
    name: str
    summary: str = ""


class Catalogue(Answer):
    """What a job may ask for."""

    presets: list[Preset]
    students: list[StudentKind] = []


class Garbage(Answer):
    """Blobs of one kind that nothing uses; `names` holds the first."""

    count: int = 0
    bytes: int = 0
    names: list[str] = []


class Collection(Answer):
    """What a garbage collection removed, or with `dry_run` would remove."""

    dry_run: bool
    artefacts: Garbage = Garbage()
    datasets: Garbage = Garbage()
    checkpoints: Garbage = Garbage()
    bulk_predictions: Garbage = Garbage()
    temporary_files: Garbage = Garbage()
    idempotency_keys: int = 0
    log_emptied: bool = False
    failed: int = 0
    bytes: int = 0
