"""Fine-tuning jobs, by the official client. There is no worker: they stay queued, or go on as a test has them go on."""

import json
from typing import Any

import httpx2
import openai
import pytest
from openai import OpenAI
from openai.types.fine_tuning import FineTuningJob
from starlette.testclient import TestClient

from app.config import Settings
from app.contracts.stages import JobStatus
from app.database import transaction
from app.jobs.lifecycle import claim, fail_stage
from app.main import create_app
from app.tables import Job, OpenAiJob, StageRun
from tests.app.calls import accepted, count
from tests.app.protocols.openai.conftest import LINES, TEST_LINES, chat, upload


def create(client: OpenAI, **options: Any) -> FineTuningJob:
    options.setdefault("training_file", upload(client).id)
    return client.fine_tuning.jobs.create(**{"model": "fast", **options})


def own_id(job: FineTuningJob) -> str:
    return job.id.replace("ftjob-", "job_")


def test_a_job_as_it_was_asked_for(near: OpenAI, client: TestClient) -> None:
    validation = upload(near, TEST_LINES)
    made = create(near, suffix="My Triage!", validation_file=validation.id, seed=11, metadata={"team": "support"})
    assert (made.object, made.status, made.model, made.seed) == ("fine_tuning.job", "queued", "fast", 11)
    assert (made.validation_file, made.metadata, made.result_files, made.integrations) == (validation.id, {"team": "support"}, [], [])
    assert (made.fine_tuned_model, made.finished_at, made.trained_tokens, made.error) == (None, None, None, None)
    assert made.hyperparameters.to_dict() == {"n_epochs": 5, "batch_size": 16, "learning_rate_multiplier": 1.0}
    again = near.fine_tuning.jobs.retrieve(made.id)
    assert again == made
    job = client.get(f"/jobs/{own_id(made)}").json()
    assert (job["name"], job["status"], job["preset"]) == ("my-triage", "queued", "fast")
    assert {part["seed"] for part in job["spec"].values() if "seed" in part} == {11}
    dataset = client.get(f"/datasets/{job['dataset_id']}").json()
    assert (dataset["rows"], dataset["test_rows"], dataset["labels"]) == (12, 2, {"lost card": 6, "top up": 6})


def test_hyperparameters_are_the_teachers(near: OpenAI, client: TestClient) -> None:
    asked = {"n_epochs": 9, "batch_size": "auto", "learning_rate_multiplier": 2}
    file = upload(near).id
    newer = create(near, training_file=file, method={"type": "supervised", "supervised": {"hyperparameters": asked}})
    older = create(near, training_file=file, hyperparameters=asked, extra_body={"spec": {"distil": {"student": "bag"}}})
    for made in (newer, older):
        teacher = client.get(f"/jobs/{own_id(made)}").json()["spec"]["teacher"]
        assert (teacher["epochs"], teacher["batch_size"], teacher["learning_rate"]) == (9, 16, 1e-4)
        assert made.method is not None
        assert made.method.supervised is not None
        assert made.hyperparameters.to_dict() == {"n_epochs": 9, "batch_size": 16, "learning_rate_multiplier": 2.0}
    assert client.get(f"/jobs/{own_id(older)}").json()["spec"]["distil"]["student"] == "bag"


@pytest.mark.parametrize(
    ("options", "param"),
    [
        ({"model": "gpt-4o-mini"}, "model"),
        ({"model": "ft:cnn:gendistil:triage:1"}, "model"),
        ({"training_file": "file-none"}, "training_file"),
        ({"validation_file": "file-none"}, "validation_file"),
        ({"integrations": [{"type": "wandb", "wandb": {"project": "p"}}]}, "integrations"),
        ({"method": {"type": "dpo"}}, "method.type"),
        ({"hyperparameters": {"n_epochs": 0}}, "hyperparameters.n_epochs"),
        ({"hyperparameters": {"n_epochs": 500}}, "method.supervised.hyperparameters.n_epochs"),
        ({"hyperparameters": {"learning_rate_multiplier": 1e6}}, "method.supervised.hyperparameters.learning_rate_multiplier"),
        ({"hyperparameters": {"beta": 1}}, "hyperparameters.beta"),
        ({"hyperparameters": {}, "method": {"type": "supervised", "supervised": {"hyperparameters": {}}}}, "hyperparameters"),
        ({"extra_body": {"spec": {"distil": {"student": "tree"}}}}, "spec.distil.student"),
        ({"extra_body": {"colour": "red"}}, "colour"),
        ({"metadata": {f"key{number}": "" for number in range(17)}}, "metadata"),
        ({"suffix": "s" * 65}, "suffix"),
        ({"seed": -1}, "seed"),
    ],
)
def test_a_parameter_that_cannot_be_used_is_named(near: OpenAI, options: dict[str, Any], param: str) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        create(near, **options)
    assert (caught.value.param, caught.value.type) == (param, "invalid_request_error")
    assert count(Job) == 0


def test_examples_that_make_no_classifier(near: OpenAI) -> None:
    with pytest.raises(openai.UnprocessableEntityError) as caught:
        create(near, training_file=upload(near, LINES[:9]).id)
    assert (caught.value.code, "line 7: the class 'top up' has 3 rows" in caught.value.message) == ("too_few_rows", True)
    with pytest.raises(openai.UnprocessableEntityError, match="'fraud'"):
        create(near, validation_file=upload(near, [chat("who is it?", "fraud")]).id)
    with pytest.raises(openai.UnprocessableEntityError, match="at least two classes"):
        create(near, training_file=upload(near, LINES[:6]).id)
    assert count(Job) == 0


def test_a_suffix_belongs_to_nobody(near: OpenAI, client: TestClient) -> None:
    first = create(near, suffix="triage")
    second = create(near, suffix="triage", training_file=upload(near, [*LINES, chat("one more", "top up")]).id)
    nameless = create(near)
    names = [client.get(f"/jobs/{own_id(job)}").json()["name"] for job in (first, second, nameless)]
    assert names[:2] == ["triage", "triage"]
    assert names[2].startswith("ft-")


def test_pages_of_jobs_and_what_they_are_marked_with(each_service_env: Settings) -> None:
    with TestClient(create_app()) as client:
        assert isinstance(client, httpx2.Client)
        near = OpenAI(base_url="http://testserver/v1", api_key="anything", http_client=client, max_retries=0)
        file = upload(near).id
        marks: list[dict[str, str] | None] = [None, {"team": "a", "it's": "ü"}, {"team": "b"}, {}, {"team": "a"}]
        made = [create(near, training_file=file, metadata=mark).id for mark in marks]
        accepted(client)  # a job that was not made here
        jobs = near.fine_tuning.jobs
        assert [job.id for job in jobs.list(limit=2)] == made[::-1]
        assert [job.id for job in jobs.list(metadata={"team": "a"})] == [made[4], made[1]]
        assert [job.id for job in jobs.list(metadata={"team": "a", "it's": "ü"})] == [made[1]]
        assert [job.id for job in jobs.list(metadata={"team": ""})] == []
        assert [job.id for job in jobs.list(extra_query={"metadata": "null"})] == [made[3], made[0]]
        for refused in ({"after": "ftjob-none"}, {"metadata": {'"': "a"}}, {"extra_query": {"metadata": "x"}}, {"limit": 0}):
            with pytest.raises(openai.BadRequestError):
                jobs.list(**refused)  # type: ignore[arg-type]  # of several kinds
        for job_id in made:
            jobs.cancel(job_id)
            assert client.delete(f"/jobs/{job_id.replace('ftjob-', 'job_')}").status_code == 204
        assert (jobs.list().data, count(OpenAiJob)) == ([], 0)


def test_cancel_pause_and_resume(near: OpenAI, client: TestClient) -> None:
    jobs = near.fine_tuning.jobs
    made = create(near)
    paused = jobs.pause(made.id)
    assert (paused.status, paused.finished_at) == ("paused", None)
    assert jobs.pause(made.id).status == "paused"
    assert client.get(f"/jobs/{own_id(made)}").json()["status"] == "cancelled"
    assert jobs.resume(made.id).status == "queued"
    with pytest.raises(openai.ConflictError, match="only a failed or cancelled job can be resumed") as caught:
        jobs.resume(made.id)
    assert caught.value.response.headers["x-should-retry"] == "false"
    jobs.pause(made.id)
    cancelled = jobs.cancel(made.id)
    assert cancelled.status == "cancelled"
    assert cancelled.finished_at is not None
    assert jobs.cancel(made.id).status == "cancelled"
    with pytest.raises(openai.ConflictError) as caught:
        jobs.pause(made.id)
    assert caught.value.code == "job_not_pausable"


def test_a_paused_job_that_goes_on_by_the_services_own_routes_is_paused_no_more(near: OpenAI, client: TestClient) -> None:
    made = create(near)
    near.fine_tuning.jobs.pause(made.id)
    assert client.post(f"/jobs/{own_id(made)}/resume").status_code == 202
    assert client.post(f"/jobs/{own_id(made)}/cancel").status_code == 202
    assert near.fine_tuning.jobs.retrieve(made.id).status == "cancelled"


def test_resuming_while_a_stage_is_being_stopped_is_worth_another_try(near: OpenAI) -> None:
    made = create(near)
    with transaction() as session:
        run_id = session.query(StageRun.id).filter_by(job_id=own_id(made), stage="finetune_teacher").scalar()
        assert claim(session, run_id, "worker-1") is not None
    near.fine_tuning.jobs.pause(made.id)
    with pytest.raises(openai.ConflictError) as caught:
        near.fine_tuning.jobs.resume(made.id)
    assert (caught.value.response.headers["retry-after"], "x-should-retry" in caught.value.response.headers) == ("5", False)


def test_why_a_job_failed(near: OpenAI) -> None:
    made = create(near)
    error = {"type": "out-of-memory", "detail": "It is too big.", "remedy": "Take a smaller batch."}
    with transaction() as session:
        run_id = session.query(StageRun.id).filter_by(job_id=own_id(made), stage="finetune_teacher").scalar()
        assert claim(session, run_id, "worker-1") is not None
        assert fail_stage(session, run_id, 1, error, retry=False, max_attempts=3)
    failed = near.fine_tuning.jobs.retrieve(made.id)
    assert (failed.status, failed.fine_tuned_model, failed.finished_at is not None) == ("failed", None, True)
    assert failed.error is not None
    assert failed.error.to_dict() == {"code": "out-of-memory", "message": "It is too big. Take a smaller batch.", "param": None}
    newest = near.fine_tuning.jobs.list_events(made.id, limit=1).data[0]
    assert (newest.level, newest.message) == ("error", "finetune_teacher failed: It is too big.")
    for call in (near.fine_tuning.jobs.cancel, near.fine_tuning.jobs.pause):
        with pytest.raises(openai.ConflictError):
            call(made.id)
    assert near.fine_tuning.jobs.resume(made.id).status == JobStatus.QUEUED


def test_events_the_newest_first(ai: OpenAI) -> None:
    made = create(ai)
    for _ in range(3):
        ai.fine_tuning.jobs.pause(made.id)
        ai.fine_tuning.jobs.resume(made.id)
    events = list(ai.fine_tuning.jobs.list_events(made.id, limit=3))
    assert events[-1].message.endswith("queued")
    assert [event.data["event"] for event in events[:3]] == ["job_resumed", "job_cancelled", "job_cancelling"]  # type: ignore[index]  # an object
    assert (len(events), len({event.id for event in events})) == (10, 10)
    assert {(event.object, event.level, event.type) for event in events} == {("fine_tuning.job.event", "info", "message")}
    assert list(ai.fine_tuning.jobs.list_events(made.id, after=events[7].id)) == events[8:]
    with pytest.raises(openai.BadRequestError):
        ai.fine_tuning.jobs.list_events(made.id, after="7")


def test_events_as_they_come(ai: OpenAI) -> None:
    made = create(ai)
    ai.fine_tuning.jobs.cancel(made.id)
    answer = ai.fine_tuning.jobs.with_raw_response.list_events(made.id, extra_query={"stream": True})
    assert answer.headers["content-type"].startswith("text/event-stream")
    *events, done = [line.removeprefix("data: ") for line in answer.text.split("\n\n") if line]
    assert done == "[DONE]"
    assert [json.loads(event)["id"] for event in events] == [event.id for event in ai.fine_tuning.jobs.list_events(made.id)][::-1]


def test_there_is_no_such_job(near: OpenAI, client: TestClient) -> None:
    jobs = near.fine_tuning.jobs
    elsewhere = accepted(client)["id"].replace("job_", "ftjob-")
    for job_id in ("ftjob-none", "ftjob-0123", elsewhere, "ftjob-\x00"):
        for call in (jobs.retrieve, jobs.cancel, jobs.pause, jobs.resume, jobs.list_events, jobs.checkpoints.list):
            with pytest.raises(openai.NotFoundError) as caught:
                call(job_id)
            assert caught.value.code == "job_not_found"
    with pytest.raises(openai.NotFoundError):
        near.files.retrieve("file-results-0123")
    assert jobs.checkpoints.list(create(near, suffix="other").id).data == []


def test_a_body_that_is_no_job(near: OpenAI) -> None:
    for content in (b"{", b"\xff", b"[]", b'{"model": "fast"}', b"[" * 100_000):
        answer = near._client.post("/v1/fine_tuning/jobs", content=content, headers={"Content-Type": "application/json"})
        assert (answer.status_code, set(answer.json())) == (400, {"error"})
