"""What a project may have: refused at the limit, taken below it, and no other project's business."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from app.contracts.stages import Stage
from app.database import transaction
from app.jobs import lifecycle
from app.ownership import in_project
from app.quotas import UsageFigures, usage
from app.storage import get_storage
from app.tables import BulkPrediction, Dataset, Job, OpenAiFile, Project, StageRun, Student, Usage, utcnow
from tests.app.access.conftest import api as api  # the fixture
from tests.app.access.conftest import bearer, make_key
from tests.app.calls import BODY, OTHER_ROWS, ROWS, refused
from tests.app.jobs.transitions import DONE
from tests.app.predictions.conftest import LABELS, store_student
from tests.app.protocols.openai.conftest import LINES, as_jsonl
from tests.app.students.published import register
from tests.waiting import together

Caller = Callable[..., Any]
MINE, THEIRS = "support", "sales"


def quotas(project: str, **limits: float | None) -> None:
    with transaction() as session:
        row = session.get(Project, project)
        if row is None:
            session.add(Project(id=project, **limits))
        else:
            for name, limit in limits.items():
                setattr(row, name, limit)


def caller(api: TestClient, project: str, **limits: float | None) -> Caller:
    """Sends requests with a key of the project, which gets these quotas: `call("POST", "/jobs", json=...)`."""
    quotas(project, **limits)
    with in_project(project):
        key = bearer(make_key("admin"))

    def call(method: str, path: str, *, headers: dict[str, str] | None = None, **options: Any) -> Any:
        return api.request(method, path, headers={**key, **(headers or {})}, **options)

    return call


def post(call: Caller, *, dry_run: bool = False, headers: dict[str, str] | None = None, **changes: Any) -> Any:
    return call("POST", "/jobs", json={**BODY, **changes}, params={"dry_run": dry_run}, headers=headers)


def used(project: str = MINE) -> UsageFigures:
    with in_project(project), transaction() as session:
        return usage(session)


def counted(table: Any, project: str = MINE) -> int:
    with in_project(project), transaction() as session:
        found: int = session.query(table).count()
        return found


def spend(minutes: float, project: str = MINE, month: datetime | None = None) -> None:
    with in_project(project), transaction() as session:
        session.add(Usage(month=(month or utcnow()).date().replace(day=1), seconds=60 * minutes))


def next_month() -> datetime:
    now = utcnow()
    return datetime(now.year + now.month // 12, now.month % 12 + 1, 1, tzinfo=UTC)


def test_open_jobs(api: TestClient) -> None:
    mine, theirs = caller(api, MINE, jobs_open=2), caller(api, THEIRS, jobs_open=2)
    ids = [post(mine).json()["id"] for _ in range(2)]
    refused(post(mine, dry_run=True), 429, "quota-exceeded")
    answer = post(mine)
    problem = refused(answer, 429, "quota-exceeded")
    assert problem["detail"] == "The project 'support' has 2 open jobs (queued or running); its quota is 2."
    assert answer.headers["retry-after"] == "60"
    assert post(theirs).status_code == 202
    assert (counted(Job), counted(Job, THEIRS)) == (2, 1)

    assert mine("POST", f"/jobs/{ids[0]}/cancel").status_code == 202
    assert post(mine, dry_run=True).status_code == 200
    assert post(mine).status_code == 202
    refused(mine("POST", f"/jobs/{ids[0]}/resume"), 429, "quota-exceeded")
    quotas(MINE, jobs_open=3)
    assert mine("POST", f"/jobs/{ids[0]}/resume").status_code == 202
    refused(post(mine), 429, "quota-exceeded")
    quotas(MINE, jobs_open=None)
    assert post(mine).status_code == 202


def test_of_many_at_once_as_many_pass_as_there_are_places(api: TestClient) -> None:
    mine = caller(api, MINE, jobs_open=3)
    dataset = mine("POST", "/datasets", json={"rows": ROWS}).json()["id"]
    answers = together(*[partial(post, mine, dataset=dataset)] * 5, *[partial(post, mine)] * 5)
    assert sorted(answer.status_code for answer in answers) == [202] * 3 + [429] * 7
    assert counted(Job) == 3


def test_resumed_and_new_jobs_share_the_last_place(api: TestClient) -> None:
    mine = caller(api, MINE, jobs_open=4)
    old = [post(mine).json()["id"] for _ in range(4)]
    for job in old:
        mine("POST", f"/jobs/{job}/cancel")
    quotas(MINE, jobs_open=2)
    answers = together(*[partial(mine, "POST", f"/jobs/{job}/resume") for job in old], *[partial(post, mine)] * 4)
    assert sorted(answer.status_code for answer in answers) == [202] * 2 + [429] * 6
    assert used().jobs_open == 2


def test_minutes_of_a_month(api: TestClient) -> None:
    mine, theirs = caller(api, MINE, minutes_per_month=90), caller(api, THEIRS, minutes_per_month=90)
    last_month = utcnow().replace(day=1) - timedelta(days=1)
    spend(500, month=last_month)
    spend(89.5)
    job = post(mine)
    assert job.status_code == 202
    mine("POST", f"/jobs/{job.json()['id']}/cancel")
    with in_project(MINE), transaction() as session:
        session.query(Usage).filter(Usage.seconds < 500 * 60).update({"seconds": 60 * 90.25})
    answer = post(mine)
    detail = refused(answer, 429, "quota-exceeded")["detail"]
    left = (next_month() - utcnow()).total_seconds()
    assert detail == (
        f"The project 'support' has used 90.2 minutes of its 90 in this month. The next begins on {next_month():%Y-%m-%d} (UTC)."
    )
    assert left <= int(answer.headers["retry-after"]) <= left + 30
    refused(post(mine, dry_run=True), 429, "quota-exceeded")
    refused(mine("POST", f"/jobs/{job.json()['id']}/resume"), 429, "quota-exceeded")
    assert post(theirs).status_code == 202
    assert mine("POST", "/datasets", json={"rows": OTHER_ROWS}).status_code == 201


def test_what_runs_now_counts_from_its_claim_on(api: TestClient) -> None:
    mine = caller(api, MINE, minutes_per_month=30)
    job = post(mine).json()["id"]
    with in_project(MINE), transaction() as session:
        run = session.query(StageRun).filter_by(job_id=job, stage=Stage.FINETUNE_TEACHER).one()
        assert lifecycle.claim(session, run.id, "worker-1") is not None
        run.claimed_at = max(utcnow() - timedelta(minutes=45), utcnow().replace(day=1, hour=0, minute=0, second=0, microsecond=0))
        claimed = run.claimed_at
    minutes = (utcnow() - claimed).total_seconds() / 60
    quotas(MINE, minutes_per_month=minutes)
    refused(post(mine), 429, "quota-exceeded")
    figures = used()
    assert figures.minutes_this_month == pytest.approx(minutes, abs=0.5)
    assert (figures.jobs_open, figures.jobs_running) == (1, 1)
    # The stage itself goes on, and its end books the same time once.
    with in_project(MINE), transaction() as session:
        assert lifecycle.finish_stage(session, run.id, 1, artefact_key="key", artefact_bytes=1000, **DONE)
    assert used().minutes_this_month == pytest.approx(minutes, abs=0.5)


def test_rows(api: TestClient) -> None:
    mine, theirs = caller(api, MINE, rows=20), caller(api, THEIRS, rows=20)
    first = mine("POST", "/datasets", json={"rows": ROWS})
    assert first.status_code == 201
    for answer in (
        mine("POST", "/datasets", json={"rows": OTHER_ROWS}),
        post(mine, dataset={"rows": OTHER_ROWS}),
        post(mine, dataset={"rows": OTHER_ROWS}, dry_run=True),
    ):
        problem = refused(answer, 403, "quota-exceeded")
        assert problem["detail"] == "The project 'support' has 12 rows, and 12 more would pass its quota of 20."
    assert (counted(Dataset), counted(Job)) == (1, 0)
    assert len(list(get_storage().dataset_hashes())) == 1
    # Rows that are there already are no new ones.
    assert mine("POST", "/datasets", json={"rows": ROWS}).json()["id"] == first.json()["id"]
    assert post(mine, dry_run=True).status_code == 200
    assert theirs("POST", "/datasets", json={"rows": OTHER_ROWS}).status_code == 201
    quotas(MINE, rows=24)
    assert mine("POST", "/datasets", json={"rows": OTHER_ROWS}).status_code == 201
    assert mine("DELETE", f"/datasets/{first.json()['id']}").status_code == 204
    assert used().rows == 12


def test_rows_that_were_removed_count_when_they_come_back(api: TestClient) -> None:
    mine = caller(api, MINE, rows=12)
    dataset = mine("POST", "/datasets", json={"rows": ROWS}).json()["id"]
    with in_project(MINE), transaction() as session:
        session.get_one(Dataset, dataset).rows_removed_at = utcnow()
    assert (used().rows, used().bytes) == (0, 0)
    assert mine("POST", "/datasets", json={"rows": OTHER_ROWS}).status_code == 201
    refused(mine("POST", "/datasets", json={"rows": ROWS}), 403, "quota-exceeded")


def test_bytes_of_datasets(api: TestClient) -> None:
    mine, theirs = caller(api, MINE), caller(api, THEIRS)
    assert mine("POST", "/datasets", json={"rows": ROWS}).status_code == 201
    stored = used().bytes
    path = f"datasets/{next(iter(get_storage().dataset_hashes())).key}/rows.jsonl"
    assert stored == len(get_storage().read(path)) > 500
    quotas(MINE, bytes=stored + 10)
    problem = refused(mine("POST", "/datasets", json={"rows": OTHER_ROWS}), 403, "quota-exceeded")
    assert f"stores {stored:,} bytes" in problem["detail"]
    refused(post(mine, dataset={"rows": OTHER_ROWS}, dry_run=True), 403, "quota-exceeded")
    # A job may pass the quota by what it makes, but begins only while there is room.
    assert post(mine, dry_run=True).status_code == 200
    job = post(mine)
    assert job.status_code == 202
    mine("POST", f"/jobs/{job.json()['id']}/cancel")
    quotas(MINE, bytes=stored)
    for answer in (post(mine), post(mine, dry_run=True), mine("POST", f"/jobs/{job.json()['id']}/resume")):
        refused(answer, 403, "quota-exceeded")
    assert theirs("POST", "/datasets", json={"rows": OTHER_ROWS}).status_code == 201


def test_bytes_of_artefacts_are_counted_once(api: TestClient) -> None:
    mine = caller(api, MINE)
    dataset = mine("POST", "/datasets", json={"rows": ROWS}).json()["id"]
    before = used().bytes
    for _ in range(2):
        job = post(mine, dataset=dataset).json()["id"]
        for stage, key in ((Stage.FINETUNE_TEACHER, "teacher"), (Stage.FINETUNE_GENERATOR, f"generator of {job}")):
            with in_project(MINE), transaction() as session:
                run = session.query(StageRun).filter_by(job_id=job, stage=stage).one()
                assert lifecycle.claim(session, run.id, "worker-1") is not None
                assert lifecycle.finish_stage(session, run.id, 1, artefact_key=key, artefact_bytes=3_000_000_000, **DONE)
    assert used().bytes == before + 9_000_000_000
    assert used(THEIRS) == UsageFigures(jobs_open=0, jobs_running=0, rows=0, bytes=0, minutes_this_month=0.0)
    quotas(MINE, bytes=9_000_000_000)
    refused(post(mine, dataset=dataset), 403, "quota-exceeded")


def published(project: str, folder: Path) -> None:
    """Version 1 of `triage`."""
    with in_project(project):
        manifest = store_student(get_storage(), folder / project, f"key-{project}")
        register("triage", f"job_{project}", f"key-{project}", manifest.model_dump(mode="json"), dict.fromkeys(LABELS, 5))


def test_bytes_of_files_of_texts(api: TestClient, tmp_path: Path) -> None:
    mine, theirs = caller(api, MINE, bytes=1000), caller(api, THEIRS, bytes=1000)
    for project in (MINE, THEIRS):
        published(project, tmp_path)
    content = "text\n" + "my card\n" * 74

    def send(call: Caller, **headers: str) -> Any:
        return call("POST", "/predictions", content=content, params={"student": "triage"}, headers={"Content-Type": "text/csv", **headers})

    assert send(mine, **{"Idempotency-Key": "one"}).status_code == 202
    refused(send(mine), 403, "quota-exceeded")
    assert send(mine, **{"Idempotency-Key": "one"}).headers["idempotency-replayed"] == "true"
    assert (counted(BulkPrediction), used().bytes) == (1, len(content))
    assert len(list(get_storage().bulk_ids())) == 1
    assert send(theirs).status_code == 202
    with in_project(MINE), transaction() as session:
        session.query(BulkPrediction).update({"result_bytes": 300})
    assert used().bytes == len(content) + 300


def test_bytes_of_files_of_v1(api: TestClient) -> None:
    content = as_jsonl(LINES)
    mine, theirs = caller(api, MINE, bytes=2 * len(content) - 1), caller(api, THEIRS, bytes=2 * len(content) - 1)

    def send(call: Caller) -> Any:
        return call("POST", "/v1/files", files={"file": ("examples.jsonl", content)}, data={"purpose": "fine-tune"})

    assert send(mine).status_code == 200
    answer = send(mine)
    assert answer.status_code == 403
    error = answer.json()["error"]
    assert (error["type"], error["code"], error["param"]) == ("insufficient_quota", "insufficient_quota", None)
    assert f"its quota of {2 * len(content) - 1:,}" in error["message"]
    assert (counted(OpenAiFile), used().bytes) == (1, len(content))
    assert send(theirs).status_code == 200


def test_jobs_of_v1(api: TestClient) -> None:
    mine = caller(api, MINE, jobs_open=1)
    form = {"files": {"file": ("examples.jsonl", as_jsonl(LINES))}, "data": {"purpose": "fine-tune"}}
    body = {"model": "fast", "training_file": mine("POST", "/v1/files", **form).json()["id"]}
    first = mine("POST", "/v1/fine_tuning/jobs", json=body)
    assert first.status_code == 200, first.text
    answer = mine("POST", "/v1/fine_tuning/jobs", json=body)
    assert (answer.status_code, answer.headers["retry-after"]) == (429, "60")
    assert answer.json()["error"]["code"] == "insufficient_quota"
    assert mine("POST", f"/v1/fine_tuning/jobs/{first.json()['id']}/pause").status_code == 200
    assert post(mine).status_code == 202
    answer = mine("POST", f"/v1/fine_tuning/jobs/{first.json()['id']}/resume")
    assert (answer.status_code, answer.json()["error"]["type"]) == (429, "insufficient_quota")


def test_bytes_of_imported_students(api: TestClient, tmp_path: Path) -> None:
    mine, theirs = caller(api, MINE), caller(api, THEIRS)
    published(MINE, tmp_path)
    bundle = mine("GET", "/students/triage/download").content
    headers = {"content-type": "application/zip"}

    def send(call: Caller, name: str, content: bytes = bundle) -> Any:
        return call("POST", "/students/import", content=content, params={"name": name}, headers=headers)

    assert send(theirs, "one").status_code == 201
    size = used(THEIRS).bytes
    assert size > 500
    quotas(THEIRS, bytes=size)
    # The same files again take no more room.
    assert send(theirs, "two").status_code == 201
    assert (used(THEIRS).bytes, counted(Student, THEIRS)) == (size, 2)
    artefacts = {found.key for found in get_storage().artefact_keys()}
    quotas(MINE, bytes=used().bytes + size - 1)
    refused(send(mine, "one"), 403, "quota-exceeded")
    assert {found.key for found in get_storage().artefact_keys()} == artefacts
    quotas(MINE, bytes=used().bytes + size)
    assert send(mine, "one").status_code == 201


def test_a_repeated_request_is_answered_as_before(api: TestClient) -> None:
    mine = caller(api, MINE, jobs_open=1, rows=12)
    key = {"Idempotency-Key": "0b0c5b2e"}
    first = post(mine, headers=key)
    assert first.status_code == 202
    refused(post(mine), 429, "quota-exceeded")
    again = post(mine, headers=key)
    assert (again.status_code, again.headers["idempotency-replayed"], again.json()) == (202, "true", first.json())
    # One that was refused is no repetition of anything.
    other = {"Idempotency-Key": "7a11"}
    refused(post(mine, headers=other), 429, "quota-exceeded")
    mine("POST", f"/jobs/{first.json()['id']}/cancel")
    assert post(mine, headers=other).status_code == 202


def test_without_quotas_there_is_no_limit(api: TestClient) -> None:
    mine = caller(api, MINE)
    spend(1e6)
    assert [post(mine).status_code for _ in range(3)] == [202] * 3
    assert used().jobs_open == 3
    assert used().minutes_this_month == pytest.approx(1e6)
