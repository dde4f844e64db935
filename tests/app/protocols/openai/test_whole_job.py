"""From a file to answers by the official client: a whole job of tiny random models, a real server, and a worker in this process."""

import csv
import io
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from openai import OpenAI
from openai._streaming import Stream
from openai.types.fine_tuning import FineTuningJobEvent

from tests.app.protocols.openai.conftest import chat, upload
from tests.waiting import wait_for
from tests.workers.conftest import generator_model, in_this_process, new_folder, teacher_model
from tests.workers.jobs import run_all
from tests.workers.tiny import LABELS, make_rows, tiny_spec

__all__ = ["generator_model", "in_this_process", "new_folder", "teacher_model"]


@pytest.fixture
def local_models(clean_settings: pytest.MonkeyPatch) -> None:
    """Jobs may name folders, as the service learns when it starts."""
    clean_settings.setenv("GENDISTIL_MODELS", '["/*"]')


@pytest.mark.usefixtures("local_models", "in_this_process")
def test_a_whole_job(ai: OpenAI, teacher_model: Path, generator_model: Path) -> None:
    training = upload(ai, [chat(row.text, row.label) for row in make_rows(20)])
    validation = upload(ai, [{"prompt": row.text, "completion": f" {row.label}"} for row in make_rows(4, seed=1)])
    spec = tiny_spec(teacher_model, generator_model).model_dump(mode="json", exclude={"teacher": {"epochs", "seed"}})
    job = ai.fine_tuning.jobs.create(
        model="fast",
        training_file=training.id,
        validation_file=validation.id,
        suffix="triage",
        method={"type": "supervised", "supervised": {"hyperparameters": {"n_epochs": 8}}},
        extra_body={"spec": spec},
    )
    ai.files.delete(training.id)
    ai.files.delete(validation.id)
    with ThreadPoolExecutor(1) as worker:
        working = worker.submit(run_all, job.id.replace("ftjob-", "job_"))
        path = f"/fine_tuning/jobs/{job.id}/events?stream=true"
        stream = ai.get(path, cast_to=FineTuningJobEvent, stream=True, stream_cls=Stream[FineTuningJobEvent])
        streamed = [event.id for event in stream]
        working.result()
    done = wait_for(lambda: (found := ai.fine_tuning.jobs.retrieve(job.id)).status == "succeeded" and found)
    assert streamed == [event.id for event in ai.fine_tuning.jobs.list_events(job.id)][::-1]
    assert "metrics" in {event.type for event in ai.fine_tuning.jobs.list_events(job.id)}

    assert done.fine_tuned_model == "ft:cnn:gendistil:triage:1"
    assert done.finished_at is not None
    assert done.trained_tokens is not None
    assert done.trained_tokens > 8 * 60  # epochs of rows, of more than a token each
    assert ai.models.retrieve(done.fine_tuned_model).id == done.fine_tuned_model
    (checkpoint,) = ai.fine_tuning.jobs.checkpoints.list(job.id)
    assert (checkpoint.fine_tuned_model_checkpoint, checkpoint.fine_tuning_job_id) == (done.fine_tuned_model, job.id)
    assert checkpoint.metrics.full_valid_mean_token_accuracy is not None
    assert list(ai.fine_tuning.jobs.checkpoints.list(job.id, after=checkpoint.id)) == []

    (results,) = done.result_files
    figures = {row["classifier"]: row for row in csv.DictReader(io.StringIO(ai.files.content(results).text))}
    assert {"teacher", "student", "tfidf"} <= set(figures)
    assert float(figures["student"]["accuracy"]) == pytest.approx(checkpoint.metrics.full_valid_mean_token_accuracy)
    described = ai.files.retrieve(results)
    assert (described.purpose, described.bytes) == ("fine-tune-results", len(ai.files.content(results).read()))

    row = make_rows(1, seed=5)[0]
    answer = ai.chat.completions.create(
        model=done.fine_tuned_model, messages=[{"role": "user", "content": row.text}], logprobs=True, top_logprobs=3
    )
    assert answer.choices[0].message.content == row.label
    logprobs = answer.choices[0].logprobs
    assert logprobs is not None
    assert logprobs.content is not None
    assert sorted(token.token for token in logprobs.content[0].top_logprobs) == LABELS
