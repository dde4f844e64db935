"""The rows of tenants."""

from datetime import date, datetime

from sqlalchemy import BigInteger, String
from sqlalchemy.orm import Mapped, mapped_column

from app.ownership import Owned
from app.tables.base import Base, utcnow


class Project(Base):
    """Whose rows others may not see. `jobs_running` and what follows: its quotas, null for any number.

    The other tables name it without a foreign key: SQLite could only be given one by rebuilding tables that others refer to.
    """

    __tablename__ = "projects"

    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    created_at: Mapped[datetime] = mapped_column(default=utcnow)
    jobs_running: Mapped[int | None]
    jobs_open: Mapped[int | None]
    rows: Mapped[int | None] = mapped_column(BigInteger)
    bytes: Mapped[int | None] = mapped_column(BigInteger)
    minutes_per_month: Mapped[float | None]
    texts_per_second: Mapped[float | None]


class Usage(Owned, Base):
    """Seconds that workers spent on a project's stages in a month (UTC, by its first day)."""

    __tablename__ = "usage"
    primary = True

    month: Mapped[date] = mapped_column(primary_key=True)
    seconds: Mapped[float] = mapped_column(default=0.0)
