"""What the project at hand has and uses now. One writes it down where it changes nothing that is there: the time of stages."""

from contextlib import suppress
from datetime import UTC, date, datetime

from pydantic import BaseModel, Field
from sqlalchemy import BigInteger, cast, func, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from app.contracts.stages import JobStatus, StageStatus
from app.tables import BulkPrediction, Dataset, Job, OpenAiFile, StageRun, Student, Usage, utcnow


class UsageFigures(BaseModel):
    """Of one project. Each counts against the quota of its name."""

    jobs_open: int = Field(description="Queued or running.")
    jobs_running: int
    rows: int = Field(description="Of its datasets, test rows too.")
    bytes: int = Field(description="Of its datasets, artefacts, files of texts with their results, and files of `/v1`.")
    minutes_this_month: float = Field(description="What its stages took of workers since the first of the month (UTC).")


def usage(session: Session) -> UsageFigures:
    """Of the project at hand."""
    return UsageFigures(
        jobs_open=jobs_open(session),
        jobs_running=_jobs(session, JobStatus.RUNNING),
        rows=rows_stored(session),
        bytes=bytes_stored(session),
        minutes_this_month=round(minutes_used(session), 2),
    )


def jobs_open(session: Session) -> int:
    return _jobs(session, JobStatus.QUEUED, JobStatus.RUNNING)


def rows_stored(session: Session) -> int:
    return session.scalar(select(func.sum(Dataset.rows + Dataset.test_rows)).where(Dataset.rows_removed_at.is_(None))) or 0


def bytes_stored(session: Session) -> int:
    """What earlier versions stored and did not measure counts as nothing, and so do checkpoints, which come and go."""
    datasets = select(func.sum(Dataset.bytes)).where(Dataset.rows_removed_at.is_(None))
    # Jobs share what is reused.
    made = (StageRun.artefact_key.is_not(None), StageRun.artefact_bytes.is_not(None))
    artefacts = select(func.max(StageRun.artefact_bytes).label("bytes")).where(*made).group_by(StageRun.artefact_key).subquery()
    size = func.max(cast(Student.manifest["bytes"].as_string(), BigInteger)).label("bytes")
    imported = select(size).where(Student.job_id.is_(None)).group_by(Student.artefact_key).subquery()
    bulk = select(func.sum(BulkPrediction.input_bytes + func.coalesce(BulkPrediction.result_bytes, 0)))
    files = select(func.sum(OpenAiFile.size))
    parts = (datasets, select(func.sum(artefacts.c.bytes)), select(func.sum(imported.c.bytes)), bulk, files)
    return sum(int(session.scalar(part) or 0) for part in parts)


def minutes_used(session: Session) -> float:
    """In this month, what runs now included."""
    now = utcnow()
    booked = session.scalar(select(Usage.seconds).where(Usage.month == month_of(now))) or 0.0
    running = session.scalars(select(StageRun.claimed_at).where(StageRun.status == StageStatus.RUNNING, StageRun.claimed_at.is_not(None)))
    begun = datetime(now.year, now.month, 1, tzinfo=UTC)
    return (booked + sum((now - max(claimed, begun)).total_seconds() for claimed in running if claimed is not None)) / 60


def month_of(moment: datetime) -> date:
    return moment.date().replace(day=1)


def book(session: Session, run: StageRun) -> None:
    """Adds the time since the run was claimed to its project's month, that of now. Once for each claim. The caller commits."""
    if run.claimed_at is None:
        return
    now = utcnow()
    seconds, run.claimed_at = max(0.0, (now - run.claimed_at).total_seconds()), None
    month = (Usage.project_id == run.project_id, Usage.month == month_of(now))
    while not session.execute(update(Usage).where(*month).values(seconds=Usage.seconds + seconds).returning(Usage.month)).first():
        # Another transaction may insert the row between the two statements; then the UPDATE finds it.
        with suppress(IntegrityError), session.begin_nested():
            session.add(Usage(project_id=run.project_id, month=month_of(now), seconds=0.0))


def _jobs(session: Session, *statuses: JobStatus) -> int:
    return session.scalar(select(func.count()).select_from(Job).where(Job.status.in_(statuses))) or 0
