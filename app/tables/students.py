"""The rows of published students."""

from datetime import date, datetime
from typing import Any

from sqlalchemy import BigInteger, ForeignKey, Index, String, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column, relationship

from app.ownership import Owned
from app.tables.base import Base, utcnow
from app.tables.jobs import Job


class Student(Owned, Base):
    """A published version. `artefact_key` names its folder in the blob store.

    No job has made one that was imported. `promotion`: whether `latest` moved to it, and why.
    """

    __tablename__ = "students"
    __table_args__ = (UniqueConstraint("project_id", "name", "version"),)

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


class Alias(Owned, Base):
    """A movable name of one version; `latest` moves with every publication that is not worse."""

    __tablename__ = "aliases"
    primary = True

    name: Mapped[str] = mapped_column(String(100), primary_key=True)
    alias: Mapped[str] = mapped_column(String(100), primary_key=True)
    version: Mapped[int]
    updated_at: Mapped[datetime] = mapped_column(default=utcnow)


class AliasMove(Owned, Base):
    """One move of an alias, written with it. `to_version` is null where the alias was deleted."""

    __tablename__ = "alias_moves"
    __table_args__ = (Index(None, "project_id", "name", "alias", "id"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(100))
    alias: Mapped[str] = mapped_column(String(100))
    from_version: Mapped[int | None]
    to_version: Mapped[int | None]
    cause: Mapped[str] = mapped_column(String(20))
    reason: Mapped[str | None] = mapped_column(Text)
    at: Mapped[datetime] = mapped_column(default=utcnow)


class Shadow(Owned, Base):
    """The version that is scored on a share of a name's live texts, beside the one that answers, and how it does.

    `seconds` and `shadow_seconds`: what the answering version and this one took for the same `texts`.
    """

    __tablename__ = "shadows"
    primary = True

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


class Traffic(Owned, Base):
    """What one API process has answered with a version on one day (UTC), from `since` on; it alone writes the row.

    `scores`: by tenths, as in the manifest's profile.
    """

    __tablename__ = "traffic"
    primary = True
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


class RetiredVersion(Owned, Base):
    """The highest version of a name that was ever deleted: its number is not given out again."""

    __tablename__ = "retired_versions"
    primary = True

    name: Mapped[str] = mapped_column(String(100), primary_key=True)
    version: Mapped[int]
