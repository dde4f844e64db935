"""What a project is said to use, after a real job."""

import pytest

from app.database import transaction
from app.ownership import in_project
from app.quotas import UsageFigures, usage
from app.storage import get_storage
from app.tables import Project
from tests.workers.conftest import Submit
from tests.workers.jobs import read, run_all

pytestmark = pytest.mark.usefixtures("in_this_process")


def used() -> UsageFigures:
    with transaction() as session:
        return usage(session)


def test_the_figures_are_those_of_the_store(submit: Submit) -> None:
    with transaction() as session:
        session.add(Project(id="support"))
    with in_project("support"):
        job = run_all(submit(distil={"student": "bag"}))
        assert job.status == "succeeded", job.error
        figures = used()
        took = sum((run.finished_at - run.started_at).total_seconds() for run in job.stages if run.finished_at and run.started_at)
        store = get_storage()
        manifests = [store.manifest(found.key) for found in store.artefact_keys()]
        files = sum(file.bytes for manifest in manifests if manifest for file in manifest.files.values())
        rows = sum(found.bytes for found in store.dataset_hashes())
        assert (figures.jobs_open, figures.jobs_running, figures.rows) == (0, 0, 60)
        assert figures.bytes == files + rows
        assert figures.minutes_this_month == pytest.approx(took / 60, rel=0.1, abs=0.02)

        again = run_all(submit(distil={"student": "bag"}))
        assert [run.reused for run in again.stages][:-1] == [True] * 5
        published = read(again.id).stages[-1].artefact_bytes
        assert published is not None
        assert used().bytes == figures.bytes + published
    assert used() == UsageFigures(jobs_open=0, jobs_running=0, rows=0, bytes=0, minutes_this_month=0)
