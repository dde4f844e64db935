"""The tables. The rows are the truth about jobs; messages are only hints."""

from datetime import UTC, date, datetime
from typing import Any, ClassVar

from sqlalchemy import (
    JSON,
    BigInteger,
    DateTime,
    Dialect,
    ForeignKey,
    Index,
    LargeBinary,
    MetaData,
    String,
    Text,
    TypeDecorator,
    UniqueConstraint,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship


def utcnow() -> datetime:
    return datetime.now(UTC)


class UtcDateTime(TypeDecorator[datetime]):
    """Aware UTC datetimes on every backend; SQLite forgets the zone."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        return value.astimezone(UTC) if value else None

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        return value.astimezone(UTC) if value.tzinfo else value.replace(tzinfo=UTC)


class Base(DeclarativeBase):
    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    type_annotation_map: ClassVar[dict[Any, Any]] = {
        datetime: UtcDateTime(),
        dict[str, Any]: JSON(),
        list[str]: JSON(),
        list[int]: JSON(),
        dict[str, int]: JSON(),
    }


class Dataset(Base):
    """Checked rows. The rows themselves lie in the blob store under their content hash."""

    __tablename__ = "datasets"

    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    content_hash: Mapped[str] = mapped_column(String(64), unique=True)
    rows: Mapped[int]
    test_rows: Mapped[int]
    label_counts: Mapped[dict[str, int]]
    mean_chars: Mapped[float]
    warnings: Mapped[list[str]]
    created_at: Mapped[datetime] = mapped_column(default=utcnow)


class Job(Base):
    """One distillation: a dataset, a student name and a complete spec."""

    __tablename__ = "jobs"
    __table_args__ = (Index(None, "name"), Index(None, "created_at"))

    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    name: Mapped[str] = mapped_column(String(100))
    dataset_id: Mapped[str] = mapped_column(ForeignKey("datasets.id"))
    preset: Mapped[str] = mapped_column(String(40))
    spec: Mapped[dict[str, Any]]
    status: Mapped[str] = mapped_column(String(20))
    warnings: Mapped[list[str]]
    error: Mapped[dict[str, Any] | None]
    promote: Mapped[str] = mapped_column(String(20), default="if_not_worse", server_default="if_not_worse")
    promote_reason: Mapped[str | None] = mapped_column(Text)
    created_at: Mapped[datetime] = mapped_column(default=utcnow)
    finished_at: Mapped[datetime | None]

    dataset: Mapped[Dataset] = relationship()
    stages: Mapped[list["StageRun"]] = relationship(
        primaryjoin="and_(StageRun.job_id == Job.id, StageRun.shard == 0)", order_by="StageRun.id", viewonly=True
    )
    shards: Mapped[list["StageRun"]] = relationship(
        primaryjoin="and_(StageRun.job_id == Job.id, StageRun.shard > 0)", order_by="StageRun.id", viewonly=True
    )
    student: Mapped["Student | None"] = relationship(back_populates="job")


class StageRun(Base):
    """One stage of one job (`shard` 0), or one shard of it, counted from 1.

    A worker owns it by turning `queued` into `running` with one conditional UPDATE; `not_before` delays that. `shrink` divides the batches,
    after memory ran out. `peak_bytes`: of the process that ran it.
    """

    __tablename__ = "stage_runs"
    __table_args__ = (UniqueConstraint("job_id", "stage", "shard"), Index(None, "status"), Index(None, "finished_at"))

    id: Mapped[int] = mapped_column(primary_key=True)
    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id"))
    stage: Mapped[str] = mapped_column(String(40))
    shard: Mapped[int] = mapped_column(default=0, server_default="0")
    status: Mapped[str] = mapped_column(String(20))
    attempt: Mapped[int] = mapped_column(default=0)
    progress_done: Mapped[float] = mapped_column(default=0.0)
    progress_total: Mapped[float] = mapped_column(default=0.0)
    unit: Mapped[str] = mapped_column(String(20))
    artefact_key: Mapped[str | None] = mapped_column(String(64))
    reused: Mapped[bool] = mapped_column(default=False)
    shrink: Mapped[int] = mapped_column(default=1, server_default="1")
    peak_bytes: Mapped[int | None] = mapped_column(BigInteger)
    worker: Mapped[str | None] = mapped_column(String(200))
    metrics: Mapped[dict[str, Any] | None]
    error: Mapped[dict[str, Any] | None]
    queued_at: Mapped[datetime | None]
    not_before: Mapped[datetime | None]
    started_at: Mapped[datetime | None]
    heartbeat_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]

    job: Mapped[Job] = relationship()


class Event(Base):
    """What happened to a job, in order; the id is the resume point of an event stream."""

    __tablename__ = "events"
    __table_args__ = (Index(None, "job_id", "id"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id"))
    type: Mapped[str] = mapped_column(String(40))
    stage: Mapped[str | None] = mapped_column(String(40))
    message: Mapped[str] = mapped_column(Text)
    data: Mapped[dict[str, Any]]
    created_at: Mapped[datetime] = mapped_column(default=utcnow)


class Student(Base):
    """A published version. `artefact_key` names its folder in the blob store.

    No job has made one that was imported. `promotion`: whether `latest` moved to it, and why.
    """

    __tablename__ = "students"
    __table_args__ = (UniqueConstraint("name", "version"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(100))
    version: Mapped[int]
    job_id: Mapped[str | None] = mapped_column(ForeignKey("jobs.id"), unique=True)
    kind: Mapped[str] = mapped_column(String(20))
    artefact_key: Mapped[str] = mapped_column(String(64))
    manifest: Mapped[dict[str, Any]]
    promotion: Mapped[dict[str, Any] | None]
    created_at: Mapped[datetime] = mapped_column(default=utcnow)

    job: Mapped[Job | None] = relationship(back_populates="student")


class Alias(Base):
    """A movable name of one version; `latest` moves with every publication that is not worse."""

    __tablename__ = "aliases"

    name: Mapped[str] = mapped_column(String(100), primary_key=True)
    alias: Mapped[str] = mapped_column(String(100), primary_key=True)
    version: Mapped[int]
    updated_at: Mapped[datetime] = mapped_column(default=utcnow)


class AliasMove(Base):
    """One move of an alias, written with it. `to_version` is null where the alias was deleted."""

    __tablename__ = "alias_moves"
    __table_args__ = (Index(None, "name", "alias", "id"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(100))
    alias: Mapped[str] = mapped_column(String(100))
    from_version: Mapped[int | None]
    to_version: Mapped[int | None]
    cause: Mapped[str] = mapped_column(String(20))
    reason: Mapped[str | None] = mapped_column(Text)
    at: Mapped[datetime] = mapped_column(default=utcnow)


class Shadow(Base):
    """The version that is scored on a share of a name's live texts, beside the one that answers, and how it does.

    `seconds` and `shadow_seconds`: what the answering version and this one took for the same `texts`.
    """

    __tablename__ = "shadows"

    name: Mapped[str] = mapped_column(String(100), primary_key=True)
    version: Mapped[int]
    share: Mapped[float]
    texts: Mapped[int] = mapped_column(BigInteger, default=0)
    agreed: Mapped[int] = mapped_column(BigInteger, default=0)
    dropped: Mapped[int] = mapped_column(BigInteger, default=0)
    failed: Mapped[int] = mapped_column(BigInteger, default=0)
    seconds: Mapped[float] = mapped_column(default=0.0)
    shadow_seconds: Mapped[float] = mapped_column(default=0.0)
    created_at: Mapped[datetime] = mapped_column(default=utcnow)


class Traffic(Base):
    """What one API process has answered with a version on one day (UTC), from `since` on; it alone writes the row.

    `scores`: by tenths, as in the manifest's profile.
    """

    __tablename__ = "traffic"
    __table_args__ = (Index(None, "day"),)

    name: Mapped[str] = mapped_column(String(100), primary_key=True)
    version: Mapped[int] = mapped_column(primary_key=True)
    day: Mapped[date] = mapped_column(primary_key=True)
    process: Mapped[str] = mapped_column(String(32), primary_key=True)
    since: Mapped[datetime]
    texts: Mapped[int] = mapped_column(BigInteger)
    labels: Mapped[dict[str, int]]
    scores: Mapped[list[int]]
    pieces: Mapped[int] = mapped_column(BigInteger)
    unknown: Mapped[int] = mapped_column(BigInteger)


class RetiredVersion(Base):
    """The highest version of a name that was ever deleted: its number is not given out again."""

    __tablename__ = "retired_versions"

    name: Mapped[str] = mapped_column(String(100), primary_key=True)
    version: Mapped[int]


class BulkPrediction(Base):
    """A file of texts for a version, which was settled when it was sent. Its input and results lie in the blob store under its id.

    A worker owns it by turning `queued` into `running` with one conditional UPDATE, and holds it by `attempt`. `rows_before`: those that
    attempt found done. `parts`: of the result, in order.
    """

    __tablename__ = "bulk_predictions"
    __table_args__ = (Index(None, "status"), Index(None, "created_at"))

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


class OpenAiFile(Base):
    """A file of examples that came by way of /v1. `content`: deflated; it lies here, so that it comes and goes with its row."""

    __tablename__ = "openai_files"
    __table_args__ = (Index(None, "created_at"),)

    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    filename: Mapped[str] = mapped_column(String(255))
    size: Mapped[int] = mapped_column(BigInteger)
    content: Mapped[bytes] = mapped_column(LargeBinary, deferred=True)
    created_at: Mapped[datetime] = mapped_column(default=utcnow)


class OpenAiJob(Base):
    """What /v1 remembers of a job that it made, and goes with it. Its files may be gone: the job's dataset has their rows."""

    __tablename__ = "openai_jobs"

    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True)
    training_file: Mapped[str] = mapped_column(String(40))
    validation_file: Mapped[str | None] = mapped_column(String(40))
    tags: Mapped[dict[str, Any]] = mapped_column("metadata")
    paused: Mapped[bool] = mapped_column(default=False)


class IdempotencyKey(Base):
    """A request that was answered, written in its own transaction. `resource_id`: what it made."""

    __tablename__ = "idempotency_keys"
    __table_args__ = (Index(None, "resource_id"), Index(None, "created_at"))

    key: Mapped[str] = mapped_column(String(255), primary_key=True)
    fingerprint: Mapped[str] = mapped_column(String(64))
    resource_id: Mapped[str | None] = mapped_column(String(40))
    answer: Mapped[dict[str, Any] | None]
    created_at: Mapped[datetime] = mapped_column(default=utcnow)


class Webhook(Base):
    """An address that is told of jobs. `student`: of jobs of this name alone.

    `old_secret` signs too until `old_secret_until`. `failing_since`: the first of the attempts that have failed in a row.
    """

    __tablename__ = "webhooks"
    __table_args__ = (Index(None, "created_at"),)

    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    url: Mapped[str] = mapped_column(Text)
    events: Mapped[list[str]]
    student: Mapped[str | None] = mapped_column(String(100))
    description: Mapped[str] = mapped_column(Text)
    enabled: Mapped[bool] = mapped_column(default=True)
    disabled_reason: Mapped[str | None] = mapped_column(Text)
    secret: Mapped[str] = mapped_column(String(100))
    old_secret: Mapped[str | None] = mapped_column(String(100))
    old_secret_until: Mapped[datetime | None]
    failing_since: Mapped[datetime | None]
    created_at: Mapped[datetime] = mapped_column(default=utcnow)


class WebhookDelivery(Base):
    """A message to one webhook, written in the transaction of what it tells of. `answer`: how the last one began.

    A sender owns one that is pending by moving `next_at` on and counting the attempt, with one conditional UPDATE; so it is due again if
    the sender dies.
    """

    __tablename__ = "webhook_deliveries"
    __table_args__ = (Index(None, "webhook_id", "created_at"), Index(None, "status", "next_at"))

    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    webhook_id: Mapped[str] = mapped_column(ForeignKey("webhooks.id"))
    type: Mapped[str] = mapped_column(String(40))
    payload: Mapped[dict[str, Any]]
    status: Mapped[str] = mapped_column(String(20))
    attempts: Mapped[int] = mapped_column(default=0)
    next_at: Mapped[datetime | None]
    attempted_at: Mapped[datetime | None]
    status_code: Mapped[int | None]
    answer: Mapped[str | None] = mapped_column(Text)
    error: Mapped[dict[str, Any] | None]
    created_at: Mapped[datetime] = mapped_column(default=utcnow)
    finished_at: Mapped[datetime | None]
