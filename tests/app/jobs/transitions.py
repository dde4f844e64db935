"""What workers do to jobs, without their work."""

from collections.abc import Callable
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session, sessionmaker

from app.contracts.stages import GRAPH, Stage
from app.database import transaction
from app.jobs import lifecycle
from app.tables import Event, Job, StageRun

Sessions = sessionmaker[Session]
NewJob = Callable[..., str]
RunId = Callable[[str, Stage], int]
ReadJob = Callable[[str], Job]

ERROR = {"type": "out-of-memory", "detail": "too big", "remedy": "smaller batch"}
DONE: dict[str, Any] = {"reused": False, "metrics": {}, "warnings": []}


def claim(sessions: Sessions, run_id: int) -> StageRun | None:
    with sessions.begin() as session:
        return lifecycle.claim(session, run_id, "worker-1")


def attempt(sessions: Sessions, run_id: int) -> int | None:
    """Claims a stage; the number of the attempt, or None if the stage is not to be had."""
    run = claim(sessions, run_id)
    return None if run is None else run.attempt


def finish(sessions: Sessions, run_id: int, **outcome: Any) -> list[tuple[int, str]]:
    """Claims and finishes a stage; returns the messages to send."""
    number = attempt(sessions, run_id)
    assert number is not None
    with sessions.begin() as session:
        assert lifecycle.finish_stage(session, run_id, number, **{"artefact_key": f"key-{run_id}", **DONE, **outcome})
        return list(session.info.get("pending_messages", []))


def cancel(sessions: Sessions, job_id: str) -> None:
    with sessions.begin() as session:
        job = lifecycle.lock_job(session, job_id)
        assert job is not None
        lifecycle.cancel_job(session, job)


def statuses(job: Job) -> dict[str, str]:
    return {run.stage: run.status for run in job.stages}


def event_types(sessions: Sessions, job_id: str) -> list[str]:
    with sessions() as session:
        return list(session.scalars(select(Event.type).where(Event.job_id == job_id).order_by(Event.id)))


def finish_alone(job_id: str, stage: Stage, key: str) -> None:
    """Runs a stage of a job of the service's own, as if what it waits for were done; the last one publishes a version."""
    with transaction() as session:
        earlier = session.query(StageRun).filter(StageRun.job_id == job_id, StageRun.stage.in_(GRAPH[stage].after))
        earlier.update({"status": "succeeded"}, synchronize_session=False)
        run = session.query(StageRun).filter_by(job_id=job_id, stage=stage).one()
        run.status = "queued"
        session.flush()
        assert lifecycle.claim(session, run.id, "worker-1") is not None
        if stage == Stage.PUBLISH:
            lifecycle.publish_version(session, session.get_one(Job, job_id), kind="cnn", artefact_key=key, manifest={})
        assert lifecycle.finish_stage(session, run.id, 1, artefact_key=key, **DONE)
