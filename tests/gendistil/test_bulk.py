"""Files of texts through the client and the command line, with a real API process; the worker's part runs in this one."""

import csv
import json
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from rich.console import Console

from gendistil import Client, GendistilError, JobFailed
from gendistil.display import BulkDisplay, bulk_line
from gendistil.models import BulkPrediction
from tests.app.predictions.conftest import Publish
from tests.app.predictions.conftest import publish as publish  # the fixture
from tests.gendistil.test_cli import gendistil
from workers.bulk import run_bulk_prediction

ROWS = [{"id": str(number), "text": text} for number, text in enumerate(["card", "my, money", "pin", "pin pin"])]


@pytest.fixture
def student(service_url: str, publish: Publish) -> Iterator[str]:
    """A reference to a student, whose files a worker predicts."""
    publish()
    ended = threading.Event()

    def work() -> None:
        with Client(service_url) as client:
            while not ended.wait(0.05):
                for found in client.bulk.list():
                    if found.status == "queued":
                        run_bulk_prediction(found.id)

    worker = threading.Thread(target=work)
    worker.start()
    yield "triage"
    ended.set()
    worker.join()


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    path = tmp_path / "rows.csv"
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, ["id", "text"])
        writer.writeheader()
        writer.writerows(ROWS)
    return path


def test_a_file_becomes_a_file(service_url: str, student: str, rows: Path, tmp_path: Path) -> None:
    seen: list[BulkPrediction] = []
    with Client(service_url) as client:
        ended = client.predict_file(student, rows, tmp_path / "out.jsonl", top_k=2, on_update=seen.append)
        assert (ended.status, ended.version, seen[-1]) == ("succeeded", 1, ended)
        assert client.bulk.list() == []  # nothing is left on the service
        predictions = client.predict(student, [row["text"] for row in ROWS]).predictions
    lines = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert [{key: line[key] for key in ("id", "text")} for line in lines] == ROWS
    assert [(line["label"], line["score"]) for line in lines] == [(found.label, found.score) for found in predictions]
    assert [len(line["scores"]) for line in lines] == [2] * 4


def test_what_was_sent_can_be_fetched_later(service_url: str, student: str, rows: Path, tmp_path: Path) -> None:
    with Client(service_url) as client:
        first = client.bulk.send(student, rows, idempotency_key="k")
        assert client.bulk.send(student, rows, idempotency_key="k").id == first.id
        assert client.bulk.wait(first.id).progress.done == 4
        assert client.bulk.save(first.id, tmp_path) == tmp_path / f"triage-1-{first.id}.jsonl"
        client.bulk.delete(first.id)
        with pytest.raises(GendistilError) as refused:
            client.bulk.get(first.id)
        assert refused.value.status == 404


def test_a_cancelled_one_is_told(service_url: str, publish: Publish, rows: Path) -> None:
    publish()
    with Client(service_url) as client:
        sent = client.bulk.send("triage", rows)
        assert client.bulk.cancel(sent.id).status == "cancelled"
        with pytest.raises(JobFailed, match="was cancelled"):
            client.bulk.wait(sent.id)


def test_the_command_writes_beside_the_file(service_url: str, student: str, rows: Path) -> None:
    shown = gendistil("predict", student, "--file", str(rows), "--min-score", "0.9", "--url", service_url)
    assert shown.returncode == 0, shown.stderr
    target = rows.with_name("rows.predicted.csv")
    assert shown.stdout.strip() == str(target)
    assert "triage:1 succeeded, 4/4 rows" in shown.stderr
    with target.open(newline="") as file:
        found = list(csv.DictReader(file))
    assert [row["text"] for row in found] == [row["text"] for row in ROWS]
    assert [row["label"] for row in found] == ["card", "money", "pin", "pin"]
    assert {row["abstained"] for row in found} == {"false"}

    elsewhere = rows.with_name("elsewhere.jsonl")
    shown = gendistil("predict", student, "--file", str(rows), "--output", str(elsewhere), "--json", "--url", service_url)
    answer = json.loads(shown.stdout)
    assert (answer["status"], answer["file"]) == ("succeeded", str(elsewhere))
    assert len(elsewhere.read_text().splitlines()) == 4

    rows.write_text("id,text\n1,card\n2,\n")
    refused = gendistil("predict", student, "--file", str(rows), "--url", service_url)
    assert refused.returncode == 1
    assert "row 2, column text: the text is empty" in refused.stderr


def test_progress_is_shown() -> None:
    found = BulkPrediction.model_validate(
        {"id": "bp_1", "student": "a", "version": 2, "status": "running", "progress": {"done": 300, "total": 1000}, "eta_seconds": 2.0}
    )
    assert bulk_line(found) == "bp_1 a:2 running, 300/1,000 rows, about 2.0 s left"
    console = Console(record=True, force_terminal=True, width=100)
    with BulkDisplay(console) as display:
        display.update(found)
    assert "300/1,000 rows" in console.export_text()
