"""The typed client against a real API process on a real database."""

import functools
import threading
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import pytest

from gendistil import Client, GendistilError, JobFailed, NotFound, Unavailable, WaitTimeout, calls
from gendistil.errors import UNREACHABLE
from gendistil.models import Job
from gendistil.steps import Call, Sleep
from tests.servers import free_port

ROWS = [{"text": f"{word} number {number}", "label": label} for label, word in (("a", "apple"), ("b", "bread")) for number in range(10)]
TEST = [{"text": "an apple", "label": "a"}, {"text": "some bread", "label": "b"}]


@pytest.fixture
def csv(tmp_path: Path) -> Path:
    path = tmp_path / "rows.csv"
    path.write_text("text,label\n" + "".join(f"{row['text']},{row['label']}\n" for row in ROWS))
    return path


@pytest.fixture
def test_csv(tmp_path: Path) -> Path:
    path = tmp_path / "test.csv"
    path.write_text("text,label\n" + "".join(f"{row['text']},{row['label']}\n" for row in TEST))
    return path


def test_datasets_from_rows_and_from_files_are_one(service_url: str, csv: Path, test_csv: Path) -> None:
    with Client(service_url) as client:
        from_rows = client.create_dataset(rows=ROWS, test=TEST)
        from_file = client.create_dataset(file=csv, test_file=test_csv)
        mixed = client.create_dataset(rows=ROWS, test_file=test_csv)
    assert (from_rows.rows, from_rows.test_rows, from_rows.labels) == (20, 2, {"a": 10, "b": 10})
    assert from_file.id == from_rows.id == mixed.id


def test_a_job_from_rows_a_file_and_a_dataset(service_url: str, csv: Path, test_csv: Path) -> None:
    with Client(service_url) as client:
        dataset = client.create_dataset(rows=ROWS, test=TEST)
        spec = {"distil": {"student": "bag"}}
        made = [
            client.create_job("from-rows", rows=ROWS, test=TEST, preset="fast", spec=spec),
            client.create_job("from-file", file=csv, test_file=test_csv, preset="fast", spec=spec),
            client.create_job("from-dataset", dataset=dataset.id, preset="fast", spec=spec),
        ]
        for job in made:
            assert job.status == "queued"
            assert job.stages[0].name == "finetune_teacher"
            seen = client.job(job.id).model_dump()
            assert seen["dataset_id"] == dataset.id  # a field the client does not name is kept
            assert seen["spec"]["distil"]["student"] == "bag"
        assert [job.id for job in client.jobs()] == [job.id for job in reversed(made)]
        assert [job.id for job in client.jobs(limit=2)] == [job.id for job in reversed(made)][:2]


def test_jobs_are_listed_over_several_pages(service_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gendistil.steps.PAGE", 2)
    with Client(service_url) as client:
        dataset = client.create_dataset(rows=ROWS)
        made = [client.create_job(f"job-{number}", dataset=dataset.id).id for number in range(5)]
        assert [job.id for job in client.jobs(limit=4)] == made[:0:-1]
        assert [job.id for job in client.jobs(limit=50)] == made[::-1]


def test_waiting_tells_every_state_and_ends_with_a_cancelled_job(service_url: str) -> None:
    seen: list[Job] = []
    with Client(service_url) as client:
        job = client.create_job("triage", rows=ROWS)
        with pytest.raises(WaitTimeout, match="still queued"):
            client.wait(job.id, poll_seconds=0.05, timeout=0.2)
        assert client.cancel(job.id).status == "cancelled"
        with pytest.raises(JobFailed, match="was cancelled") as caught:
            client.wait(job.id, on_update=seen.append)
        assert "resume" in (caught.value.remedy or "")
        assert client.resume(job.id).status == "queued"
    assert [state.status for state in seen] == ["cancelled"]


def test_a_service_that_is_started_anew_is_waited_for() -> None:
    """The steps of the method, taken one by one."""
    away = Unavailable("No gendistil service answers.", type=UNREACHABLE)
    running = {"id": "job_1", "name": "triage", "status": "running"}
    flow = calls.jobs.wait("job_1", poll_seconds=0)
    request = httpx.Request("GET", "http://127.0.0.1/jobs/job_1")
    assert isinstance(next(flow), Call)
    assert isinstance(flow.send(httpx.Response(200, json=running, request=request)), Sleep)
    assert isinstance(flow.send(None), Call)
    assert isinstance(flow.throw(away), Sleep)
    assert isinstance(flow.send(None), Call)
    with pytest.raises(StopIteration) as ended:
        flow.send(httpx.Response(200, json={**running, "status": "succeeded"}, request=request))
    assert ended.value.value.status == "succeeded"
    never_there = calls.jobs.wait("job_1", poll_seconds=0)
    next(never_there)
    with pytest.raises(Unavailable):
        never_there.throw(away)
    deleted = calls.jobs.wait("job_1", poll_seconds=0)
    next(deleted)
    deleted.send(httpx.Response(200, json=running, request=request))
    next(deleted)
    with pytest.raises(NotFound):
        deleted.throw(NotFound("There is no such job.", status=404))


def test_faults_in_rows_arrive_with_row_numbers_and_remedies(service_url: str, tmp_path: Path) -> None:
    bad = tmp_path / "bad.csv"
    bad.write_text("text,label\n" + "".join(f"{row['text']},{row['label']}\n" for row in ROWS) + ",a\n")
    with Client(service_url) as client, pytest.raises(GendistilError) as caught:
        client.create_job("triage", file=bad)
    error = caught.value
    assert error.status == 422
    assert error.type.startswith("urn:gendistil:")
    assert error.errors[0]["row"] == 21
    assert error.remedy
    assert error.errors_total >= 1


@pytest.mark.parametrize("name", ["predict", "job", "report", "student"])
def test_what_is_not_there_is_a_404(service_url: str, name: str) -> None:
    calls = {
        "predict": lambda client: client.predict("nobody", "text"),
        "job": lambda client: client.job("nothing"),
        "report": lambda client: client.report("nothing"),
        "student": lambda client: client.student("nobody"),
    }
    with Client(service_url) as client, pytest.raises(GendistilError) as caught:
        calls[name](client)
    assert caught.value.status == 404
    assert caught.value.type.endswith("-not-found")


def test_presets_and_students_are_listed(service_url: str) -> None:
    with Client(service_url) as client:
        presets = {preset.name: preset for preset in client.presets()}
        assert set(presets) == {"fast", "balanced", "thorough", "sensitive", "paper"}
        assert presets["paper"].spec["distil"]["student"] == "bilstm"
        assert client.students() == []


def test_no_service_is_told_with_the_way_to_start_one() -> None:
    with Client(f"http://127.0.0.1:{free_port()}") as client, pytest.raises(GendistilError, match="No gendistil service answers") as caught:
        client.jobs()
    assert caught.value.status is None
    assert "gendistil up" in (caught.value.remedy or "")


@pytest.mark.parametrize(
    ("content", "expected"),
    [(None, "was answered 404"), ("<html>", "answered no JSON"), ("[1]", "answered no list of jobs"), ('{"items": [1]}', "no job")],
)
def test_another_service_is_not_taken_for_gendistil(tmp_path: Path, content: str | None, expected: str) -> None:
    if content is not None:
        (tmp_path / "jobs").write_text(content)
    handler = functools.partial(SimpleHTTPRequestHandler, directory=str(tmp_path))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever).start()
        try:
            with Client(f"http://127.0.0.1:{server.server_port}") as client, pytest.raises(GendistilError, match=expected) as caught:
                client.jobs()
        finally:
            server.shutdown()
    assert "Is this address a gendistil service" in (caught.value.remedy or "")


@pytest.mark.parametrize("url", ["not a url", "ftp://example.com", "http://[::1"])
def test_a_bad_address_is_an_error_of_ours(url: str) -> None:
    with pytest.raises(GendistilError), Client(url) as client:
        client.jobs()


def test_rows_must_come_from_one_place(csv: Path) -> None:
    with Client() as client:
        with pytest.raises(GendistilError, match="Exactly one of rows, file, dataset"):
            client.create_job("triage", rows=ROWS, file=csv)
        with pytest.raises(GendistilError, match="Exactly one of"):
            client.create_dataset()
        with pytest.raises(GendistilError, match="already has its columns and its test rows"):
            client.create_job("triage", dataset="ds_1", test=TEST)


def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    with Client() as client, pytest.raises(GendistilError, match="cannot be read: No such file"):
        client.create_dataset(file=tmp_path / "none.csv")


def test_a_job_that_is_sent_again_with_its_key_is_the_same(service_url: str, csv: Path) -> None:
    with Client(service_url) as client:
        for create in (
            functools.partial(client.create_job, rows=ROWS, idempotency_key="of rows"),
            functools.partial(client.create_job, file=csv, idempotency_key="of a file"),
        ):
            assert create("triage").id == create("triage").id
            with pytest.raises(GendistilError) as caught:
                create("other")
            assert caught.value.type == "urn:gendistil:idempotency-key-reused"
        assert len(client.jobs()) == 2


def test_an_estimate_starts_nothing(service_url: str, csv: Path, test_csv: Path) -> None:
    with Client(service_url) as client:
        from_rows = client.estimate("triage", rows=ROWS, test=TEST, spec={"distil": {"student": "bag"}})
        from_file = client.estimate("triage", file=csv, test_file=test_csv, spec={"distil": {"student": "bag"}})
        assert client.jobs() == []
        assert from_rows.stages == from_file.stages
        assert from_rows.spec["distil"]["student"] == "bag"
        assert from_rows.totals.seconds == pytest.approx(sum(stage.seconds for stage in from_rows.stages), abs=0.1)
        client.create_job("triage", rows=ROWS)
        with pytest.raises(GendistilError, match="taken"):
            client.estimate("triage", rows=ROWS[1:])
        assert client.estimate("triage", rows=ROWS[1:], replace_dataset=True).name == "triage"


def test_jobs_datasets_and_garbage_are_deleted(service_url: str) -> None:
    with Client(service_url) as client:
        job = client.create_job("triage", rows=ROWS)
        dataset = client.create_dataset(rows=ROWS).id
        with pytest.raises(GendistilError, match="1 job was made") as caught:
            client.delete_dataset(dataset)
        assert caught.value.status == 409
        client.cancel(job.id)
        client.delete_job(job.id)
        client.delete_dataset(dataset)
        assert client.jobs() == []
        for delete in (lambda: client.delete_student("nobody"), lambda: client.delete_student("nobody", 1)):
            with pytest.raises(GendistilError) as caught:
                delete()
            assert caught.value.type == "urn:gendistil:student-not-found"
        dry, done = client.collect_garbage(dry_run=True), client.collect_garbage()
        assert (dry.dry_run, done.dry_run) == (True, False)
        assert (done.bytes, done.failed, done.artefacts.count) == (0, 0, 0)
