"""The service as docs/deployment.md starts it by hand, on PostgreSQL and a Redis on TCP: migrations, an API, a worker."""

import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import httpx
import psycopg
import pytest
import redis

from tests.e2e.service import BIN, STAGES, Json, Stream, all_events, client, follow, ok, process, ready, stage_of, succeeded
from tests.servers import free_port
from tests.waiting import wait_for
from tests.workers.tiny import LABELS, make_rows, save_encoder, save_llama, tiny_spec

pytestmark = pytest.mark.e2e


@dataclass
class Terminals:
    api: subprocess.Popen[bytes]
    worker: subprocess.Popen[bytes]
    client: httpx.Client


@pytest.fixture
def database(postgres_url: str, redis_url: str, tmp_path: Path, clean_settings: pytest.MonkeyPatch) -> str:
    """Address of an empty PostgreSQL, as a hosting platform gives it; the environment names it, a Redis and a data folder."""
    url = postgres_url.replace("postgresql+psycopg://", "postgresql://")
    for name, value in {"DATABASE_URL": url, "REDIS_URL": redis_url, "GENDISTIL_DATA_DIR": str(tmp_path / "data")}.items():
        clean_settings.setenv(name, value)
    clean_settings.setenv("GENDISTIL_MODELS", '["/*"]')
    return url


@contextmanager
def terminals(folder: Path) -> Iterator[Terminals]:
    url = f"http://127.0.0.1:{(port := free_port())}"
    serve = [str(BIN / "uvicorn"), "app.main:app", "--host", "127.0.0.1", "--port", str(port)]
    work = [str(BIN / "python"), "-m", "workers.main"]
    with process(serve, folder / "api.log") as api, process(work, folder / "worker.log") as worker, client(url) as found:
        wait_for(lambda: ready(url) or api.poll() is not None, 60, "ready")
        assert api.poll() is None, (folder / "api.log").read_text()
        yield Terminals(api, worker, found)


def test_a_job_is_cancelled_resumed_and_served(database: str, redis_url: str, tmp_path: Path) -> None:
    subprocess.run([str(BIN / "python"), "-m", "app.migrate"], cwd=tmp_path, check=True)
    with terminals(tmp_path) as here:
        job = post_job(here.client, tmp_path)
        follow(here.client, job["id"], lambda job: stage_of(job, "distil")["progress"]["done"] > 0, 120)

        asked = time.monotonic()
        answer = ok(here.client.post(f"/jobs/{job['id']}/cancel"), 202)
        assert answer["status"] == "cancelled"
        cancelled = wait_for(lambda: (found := ok(here.client.get(f"/jobs/{job['id']}")))["finished_at"] and found, 10, "the end")
        assert time.monotonic() - asked < 10
        assert cancelled["status"] == "cancelled"
        assert [stage["status"] for stage in cancelled["stages"]] == [*["succeeded"] * 4, "cancelled", "cancelled"]
        assert here.client.get(f"/jobs/{job['id']}/report").status_code == 409
        unpublished = here.client.post("/predict", json={"student": "triage", "inputs": "my card"})
        assert unpublished.status_code == 404

        resumed = ok(here.client.post(f"/jobs/{job['id']}/resume"), 202)
        assert resumed["status"] in {"queued", "running"}
        assert [stage["status"] for stage in resumed["stages"][:4]] == ["succeeded"] * 4
        follow(here.client, job["id"], lambda job: stage_of(job, "distil")["progress"]["done"] > 0, 60)
        stream = Stream(here.client, job["id"])
        wait_for(lambda: stream.events, 10, "the stream")
        stop_within(here, 20)  # uvicorn would wait for the stream, and the stream for the end of its job
        assert stream.read()[-1]["type"] != "job_succeeded"

    with redis.Redis.from_url(redis_url) as connection:
        connection.flushall()  # the rows are the truth: a new worker goes on without the messages
    with terminals(tmp_path) as here:
        follow(here.client, job["id"], lambda job: stage_of(job, "distil")["status"] == "running", 45)
        done = follow(here.client, job["id"], succeeded, 240)[-1]
        for name in STAGES[:4]:  # what was finished before the cancellation was not run again
            assert stage_of(done, name) == stage_of(cancelled, name)
        assert done["student"] == {"name": "triage", "version": 1}
        texts = ["envelope courier delivery please", "currency euro market today"]
        answer = ok(here.client.post("/predict", json={"student": "triage", "inputs": texts}))
        assert [prediction["label"] for prediction in answer["predictions"]] == LABELS[:2]
        types = [event["type"] for event in all_events(here.client, job["id"])]
        expected = ["job_queued", "job_cancelling", "job_cancelled", "job_resumed", "stage_released", "student_published", "job_succeeded"]
        assert [name for name in types if name in expected] == expected
        stop_within(here, 20)
    with psycopg.connect(database) as connection:
        assert connection.execute("SELECT name, version FROM students").fetchall() == [("triage", 1)]


def post_job(api: httpx.Client, folder: Path) -> Json:
    """A job on tiny random models, with a distillation that takes long enough to be cancelled in."""
    spec = tiny_spec(
        save_encoder(folder / "encoder"), save_llama(folder / "llama"), distil={"student": "bag", "epochs": 30, "min_steps": 900}
    ).model_dump(mode="json")
    dataset = ok(api.post("/datasets", json={"rows": [asdict(row) for row in make_rows(30)]}), 201)
    return ok(api.post("/jobs", json={"name": "triage", "dataset": dataset["id"], "spec": spec}), 202)


def stop_within(here: Terminals, seconds: float) -> None:
    """Ctrl-C in both terminals."""
    for running in (here.worker, here.api):
        running.send_signal(signal.SIGINT)
    for running in (here.worker, here.api):
        assert running.wait(seconds) is not None
