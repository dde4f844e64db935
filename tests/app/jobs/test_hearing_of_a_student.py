"""Who hears from the API that a job has published is answered by its student at once, in a process that seldom reads names."""

import pytest
from starlette.testclient import TestClient

from app.contracts.stages import JobStatus
from app.database import transaction
from app.jobs import lifecycle
from app.tables import Job, utcnow
from tests.app.calls import accepted, predictor_of

STREAM = {"accept": "text/event-stream"}


@pytest.fixture
def seldom(clean_settings: pytest.MonkeyPatch) -> None:
    clean_settings.setenv("GENDISTIL_SERVING__REFRESH_SECONDS", "3600")


def succeed(api: TestClient) -> str:
    """A job whose worker, another process, has published a version."""
    job_id: str = accepted(api)["id"]
    with transaction() as session:
        job = session.get_one(Job, job_id)
        assert lifecycle.claim(session, job.stages[0].id, "worker-1") is not None
        lifecycle.publish_version(session, job, kind="cnn", artefact_key=job_id, manifest={})
        job.status, job.finished_at = JobStatus.SUCCEEDED, utcnow()
        lifecycle.record_event(session, job_id, "job_succeeded", "all stages succeeded")
    return job_id


def served(api: TestClient) -> int:
    found = predictor_of(api).resolver.find("triage")
    assert found is not None
    return found.version


@pytest.mark.usefixtures("seldom")
@pytest.mark.parametrize(
    ("path", "headers"),
    [("/jobs/{}", {}), ("/jobs", {}), ("/jobs/{}/events", {}), ("/jobs/{}/events", STREAM)],
    ids=["job", "jobs", "events", "stream"],
)
def test_the_name_means_the_new_version_once_the_api_has_told_of_it(api: TestClient, path: str, headers: dict[str, str]) -> None:
    api.get(f"/jobs/{succeed(api)}")
    job_id = succeed(api)
    assert served(api) == 1
    answer = api.get(path.format(job_id), headers=headers)
    assert answer.status_code == 200
    assert ('"version":2' in answer.text) or ("job_succeeded" in answer.text)
    assert served(api) == 2
