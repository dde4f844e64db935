"""The rows of what callers sent, and of what they were answered."""

from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, ForeignKey, Index, LargeBinary, String
from sqlalchemy.orm import Mapped, mapped_column

from app.ownership import Owned
from app.tables.base import Base, utcnow


class BulkPrediction(Owned, Base):
    """A file of texts for a version, which was settled when it was sent. Its input and results lie in the blob store under its id.

    A worker owns it by turning `queued` into `running` with one conditional UPDATE, and holds it by `attempt`. `rows_before`: those that
    attempt found done. `parts`: of the result, in order.
    """

    __tablename__ = "bulk_predictions"
    __table_args__ = (Index(None, "status"), Index(None, "project_id", "created_at"))

    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    student: Mapped[str] = mapped_column(String(100))
    version: Mapped[int]
    artefact_key: Mapped[str] = mapped_column(String(64))
    options: Mapped[dict[str, Any]]
    threshold: Mapped[float | None]
    layout: Mapped[dict[str, Any]]
    input_hash: Mapped[str] = mapped_column(String(64))
    input_bytes: Mapped[int] = mapped_column(BigInteger)
    rows: Mapped[int]
    rows_done: Mapped[int] = mapped_column(default=0)
    rows_before: Mapped[int] = mapped_column(default=0)
    status: Mapped[str] = mapped_column(String(20))
    attempt: Mapped[int] = mapped_column(default=0)
    worker: Mapped[str | None] = mapped_column(String(200))
    parts: Mapped[list[str] | None]
    result_bytes: Mapped[int | None] = mapped_column(BigInteger)
    error: Mapped[dict[str, Any] | None]
    created_at: Mapped[datetime] = mapped_column(default=utcnow)
    queued_at: Mapped[datetime | None]
    not_before: Mapped[datetime | None]
    started_at: Mapped[datetime | None]
    heartbeat_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]


class OpenAiFile(Owned, Base):
    """A file of examples that came by way of /v1. `content`: deflated; it lies here, so that it comes and goes with its row."""

    __tablename__ = "openai_files"
    __table_args__ = (Index(None, "project_id", "created_at"),)

    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    filename: Mapped[str] = mapped_column(String(255))
    size: Mapped[int] = mapped_column(BigInteger)
    content: Mapped[bytes] = mapped_column(LargeBinary, deferred=True)
    created_at: Mapped[datetime] = mapped_column(default=utcnow)


class OpenAiJob(Owned, Base):
    """What /v1 remembers of a job that it made, and goes with it. Its files may be gone: the job's dataset has their rows."""

    __tablename__ = "openai_jobs"

    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True)
    training_file: Mapped[str] = mapped_column(String(40))
    validation_file: Mapped[str | None] = mapped_column(String(40))
    tags: Mapped[dict[str, Any]] = mapped_column("metadata")
    paused: Mapped[bool] = mapped_column(default=False)


class IdempotencyKey(Owned, Base):
    """A request that was answered, written in its own transaction. `resource_id`: what it made."""

    __tablename__ = "idempotency_keys"
    primary = True
    __table_args__ = (Index(None, "resource_id"), Index(None, "created_at"))

    key: Mapped[str] = mapped_column(String(255), primary_key=True)
    fingerprint: Mapped[str] = mapped_column(String(64))
    resource_id: Mapped[str | None] = mapped_column(String(40))
    answer: Mapped[dict[str, Any] | None]
    created_at: Mapped[datetime] = mapped_column(default=utcnow)
