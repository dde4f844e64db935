"""Jobs on real databases, and the API on both kinds."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from sqlalchemy.orm import sessionmaker
from starlette.testclient import TestClient

from app.config import Settings
from app.contracts.spec import JobSpec
from app.contracts.stages import Stage
from app.database import make_engine
from app.jobs.service import create_job
from app.tables import Dataset, Job, StageRun
from tests.app.jobs.transitions import Sessions


@pytest.fixture
def sessions(migrated_database_url: str) -> Iterator[Sessions]:
    """Sessions on SQLite and on PostgreSQL in turn."""
    engine = make_engine(migrated_database_url)
    yield sessionmaker(engine, expire_on_commit=False)
    engine.dispose()


@pytest.fixture
def new_job(sessions: Sessions) -> Callable[..., str]:
    """Stores a job with its six stage runs, and returns its id."""

    def create(name: str = "triage", content: str = "one", **options: Any) -> str:
        with sessions.begin() as session:
            dataset = session.get(Dataset, f"ds_{content}")
            if dataset is None:
                counts = {"a": 10, "b": 10}
                dataset = Dataset(
                    id=f"ds_{content}", content_hash=content, rows=20, test_rows=0, label_counts=counts, mean_chars=40.0, warnings=[]
                )
                session.add(dataset)
                session.flush()
            options = {"preset": "fast", "spec": JobSpec(), "replace_dataset": False, **options}
            return create_job(session, name=name, dataset=dataset, **options).id

    return create


@pytest.fixture
def run_id(sessions: Sessions) -> Callable[[str, Stage], int]:
    """The id of a job's stage run."""

    def find(job_id: str, stage: Stage) -> int:
        with sessions() as session:
            return session.query(StageRun).filter_by(job_id=job_id, stage=stage).one().id

    return find


@pytest.fixture
def read_job(sessions: Sessions) -> Callable[[str], Job]:
    """A job as committed, its stages loaded."""

    def read(job_id: str) -> Job:
        with sessions() as session:
            job = session.get_one(Job, job_id)
            assert len(job.stages) == 6
            return job

    return read


@pytest.fixture
def api(each_service_env: Settings) -> Iterator[TestClient]:
    """The whole API, on SQLite and on PostgreSQL in turn."""
    from app.main import create_app

    with TestClient(create_app()) as client:
        yield client
