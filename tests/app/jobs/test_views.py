"""How a job's rows are shown: seconds, and an estimate from this job and from earlier ones."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from sqlalchemy.orm import Session, sessionmaker

from app.contracts.stages import GRAPH, Stage
from app.jobs.service import get_job
from app.jobs.views import job_out, stage_history
from app.tables import Job

NOW = datetime(2030, 1, 1, tzinfo=UTC)


def run_all(session: Session, job_id: str, seconds: float) -> None:
    """Makes the job look as if every stage had taken so long."""
    job = session.get_one(Job, job_id)
    for run in job.stages:
        run.status, run.started_at, run.finished_at = "succeeded", NOW - timedelta(seconds=seconds), NOW
    job.status, job.finished_at = "succeeded", NOW


def test_a_first_job_says_nothing_until_its_first_stage_is_done(sessions: sessionmaker[Session], new_job: Callable[..., str]) -> None:
    job_id = new_job()
    with sessions.begin() as session:
        job = get_job(session, job_id)
        assert stage_history(session) == {}
        assert job_out(job, {}, NOW).eta_seconds is None
        teacher = job.stages[0]
        teacher.status, teacher.started_at, teacher.finished_at = "succeeded", NOW - timedelta(seconds=90), NOW
        shown = job_out(job, {}, NOW)
        assert shown.eta_seconds is not None
        assert shown.eta_seconds > 0
        assert shown.stages[0].seconds == 90
        assert shown.stages[1].seconds is None
        job.stages[1].status, job.stages[1].started_at = "running", NOW - timedelta(seconds=3)
        assert job_out(job, {}, NOW).stages[1].seconds == 3


def test_earlier_jobs_give_the_next_one_its_estimate(sessions: sessionmaker[Session], new_job: Callable[..., str]) -> None:
    first, second = new_job(), new_job()
    with sessions.begin() as session:
        run_all(session, first, 60)
        session.get_one(Job, first).stages[2].reused = True
    with sessions() as session:
        history = stage_history(session)
        assert set(history) == set(GRAPH) - {Stage.GENERATE}
        shown = job_out(get_job(session, second), history, NOW).eta_seconds
        assert shown is not None
        assert shown > 5 * 60 - 1
        assert job_out(get_job(session, first), history, NOW).eta_seconds == 0


def test_a_job_of_an_earlier_version_is_shown_without_an_estimate(sessions: sessionmaker[Session], new_job: Callable[..., str]) -> None:
    """Its spec has a field that is gone since; it neither hides itself nor the jobs that came after."""
    old, waiting, new = new_job(), new_job(), new_job()
    with sessions.begin() as session:
        run_all(session, old, 60)
        for job_id in (old, waiting):
            job = session.get_one(Job, job_id)
            job.spec = {**job.spec, "teacher": {**job.spec["teacher"], "gone_since": 3}}
    with sessions() as session:
        assert stage_history(session) == {}
        assert job_out(get_job(session, old), {}, NOW).spec["teacher"]["gone_since"] == 3
        history = dict.fromkeys(GRAPH, 1.0)
        assert job_out(get_job(session, old), history, NOW).eta_seconds == 0
        assert job_out(get_job(session, waiting), history, NOW).eta_seconds is None
        assert job_out(get_job(session, new), history, NOW).eta_seconds is not None
