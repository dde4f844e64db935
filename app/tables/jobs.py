"""The rows of jobs; they are the truth about them, messages are only hints."""

from datetime import datetime
from typing import TYPE_CHECKING, Any

from sqlalchemy import BigInteger, ForeignKey, Index, String, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column, relationship

from app.ownership import Owned
from app.tables.base import Base, utcnow

if TYPE_CHECKING:
    from app.tables.students import Student


class Dataset(Owned, Base):
    """Checked rows. The rows themselves lie in the blob store under their content hash.

    `shared_hash`: what stages are named after, if projects were to share what they make when the rows were stored.
    """

    __tablename__ = "datasets"

    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    content_hash: Mapped[str] = mapped_column(String(64), unique=True)
    shared_hash: Mapped[str | None] = mapped_column(String(64))
    rows: Mapped[int]
    test_rows: Mapped[int]
    bytes: Mapped[int] = mapped_column(BigInteger, default=0, server_default="0")
    label_counts: Mapped[dict[str, int]]
    mean_chars: Mapped[float]
    warnings: Mapped[list[str]]
    created_at: Mapped[datetime] = mapped_column(default=utcnow)
    rows_removed_at: Mapped[datetime | None]

    @property
    def lineage_hash(self) -> str:
        """What the artefacts of its jobs are named after."""
        return self.shared_hash or self.content_hash


class Job(Owned, Base):
    """One distillation: a dataset, a student name and a complete spec."""

    __tablename__ = "jobs"
    __table_args__ = (Index(None, "project_id", "name"), Index(None, "project_id", "created_at"), Index(None, "status", "project_id"))

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
    rows_removal: Mapped[str | None] = mapped_column(String(10), index=True)
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


class StageRun(Owned, Base):
    """One stage of one job (`shard` 0), or one shard of it, counted from 1.

    A worker owns it by turning `queued` into `running` with one conditional UPDATE; `not_before` delays that. `shrink` divides the batches,
    after memory ran out. `peak_bytes`: of the process that ran it. `claimed_at`: since when its time is not booked yet, see `Usage`.
    """

    __tablename__ = "stage_runs"
    __table_args__ = (
        UniqueConstraint("job_id", "stage", "shard"),
        Index(None, "status", "project_id"),
        Index(None, "finished_at"),
        Index(None, "project_id", "started_at"),
    )

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
    artefact_bytes: Mapped[int | None] = mapped_column(BigInteger)
    reused: Mapped[bool] = mapped_column(default=False)
    shrink: Mapped[int] = mapped_column(default=1, server_default="1")
    peak_bytes: Mapped[int | None] = mapped_column(BigInteger)
    worker: Mapped[str | None] = mapped_column(String(200))
    metrics: Mapped[dict[str, Any] | None]
    error: Mapped[dict[str, Any] | None]
    queued_at: Mapped[datetime | None]
    not_before: Mapped[datetime | None]
    claimed_at: Mapped[datetime | None]
    started_at: Mapped[datetime | None]
    heartbeat_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]

    job: Mapped[Job] = relationship()


class Event(Owned, Base):
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
