"""What a real worker process writes, while a stage runs in a process of its own."""

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from app.config import Settings
from app.contracts.presets import resolve_spec
from app.contracts.stages import JobStatus
from app.database import transaction
from app.datasets.raw import RawRow
from app.datasets.service import prepare_rows, store_rows
from app.jobs.service import create_job, get_job
from app.storage import get_storage
from tests.waiting import wait_for

Json = dict[str, Any]
BIN = Path(sys.executable).parent
COMMANDS = {
    "module": [sys.executable, "-m", "workers.main"],
    "celery": [str(BIN / "celery"), "--quiet", "-A", "workers.celery_app", "worker", "-Q", "gpu,cpu"],
}


@contextmanager
def worker(command: list[str], log: Path) -> Iterator["subprocess.Popen[bytes]"]:
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    with log.open("wb") as output, subprocess.Popen(command, env=environment, cwd=log.parent, stdout=output, stderr=output) as process:
        try:
            yield process
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(60)


def submit_failing(settings: Settings) -> str:
    """A job whose teacher is not there; its id."""
    rows = [RawRow(number, f"text number {number} of a card", "ab"[number % 2]) for number in range(40)]
    with transaction() as session:
        dataset = store_rows(session, prepare_rows(rows, [], settings.limits), get_storage())
        spec = resolve_spec("fast", {"teacher": {"model": "/no/such/folder"}, "generator": {"model": "/no/such/folder"}})
        return create_job(session, name="triage", dataset=dataset, preset="fast", spec=spec, replace_dataset=False).id


@pytest.mark.parametrize("how", COMMANDS)
def test_every_line_names_the_worker_and_those_of_a_stage_its_job(service_env: Settings, tmp_path: Path, how: str) -> None:
    job_id, log = submit_failing(service_env), tmp_path / "worker.log"
    with worker(COMMANDS[how], log) as process:
        for text in ("model-unavailable", " ready."):
            wait_for(lambda text=text: text in log.read_text(), 120, log.read_text)
    with transaction() as session:
        assert get_job(session, job_id).status == JobStatus.FAILED
    # Celery says this itself, from a signal handler.
    lines = [line for line in log.read_text().splitlines() if line and "Warm shutdown" not in line]
    events: list[Json] = [json.loads(line) for line in lines]
    assert {event["worker"] for event in events} == {f"{socket.gethostname()}:{process.pid}"}
    assert any(event["logger"].startswith("celery.") for event in events)
    (failure,) = [event for event in events if "model-unavailable" in event["message"]]
    assert (failure["job"], failure["stage"], failure["attempt"], failure["level"]) == (job_id, "finetune_teacher", 1, "ERROR")
    assert "/no/such/folder" in failure["exception"]
    assert "of a card" not in log.read_text()
