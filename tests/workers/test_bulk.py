"""A bulk prediction and real workers."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

from starlette.testclient import TestClient

from app.contracts.bulk import BULK_QUEUE
from app.database import transaction
from app.storage import get_storage
from app.tables import BulkPrediction
from tests.app.bulk.conftest import TEXTS, csv_of, send
from tests.app.predictions.conftest import Publish
from tests.app.predictions.conftest import publish as publish  # the fixture
from tests.waiting import wait_for


def test_a_real_worker_that_is_killed_half_way(client: TestClient, publish: Publish, tmp_path: Path) -> None:
    publish()
    log = tmp_path / "worker.log"

    def start() -> "subprocess.Popen[bytes]":
        with log.open("ab") as output:
            seconds = {"HEARTBEAT": "0.2", "LOST_AFTER": "5", "SWEEP": "0.2", "RETRY": "0"}
            environment = {**os.environ, **{f"GENDISTIL_WORKER__{name}_SECONDS": value for name, value in seconds.items()}}
            command = [sys.executable, "-m", "workers.main", "--queues", BULK_QUEUE]
            return subprocess.Popen(command, env=environment, stdout=output, stderr=output)

    texts = [f"{TEXTS[number % 6]} {number}" for number in range(120_000)]
    id = send(client, csv_of(texts))["id"]
    first = start()
    wait_for(lambda: len(get_storage().bulk_parts(id)) >= 2, what=log.read_text, every=0.01)
    first.send_signal(signal.SIGKILL)
    first.wait(30)
    assert client.get(f"/predictions/{id}").json()["status"] == "running"
    second = start()
    try:
        wait_for(lambda: client.get(f"/predictions/{id}").json()["status"] == "succeeded", what=log.read_text)
        with transaction() as session:
            row = session.get_one(BulkPrediction, id)
            assert (row.attempt, row.rows_before >= 40_000) == (2, True)
        lines = client.get(f"/predictions/{id}/result").text.split("\n")[:-1]
        assert [json.loads(line)["text"] for line in lines] == texts
        # It holds no torch: it can stand beside the API, on a machine without room for more.
        assert "torch" not in Path(f"/proc/{second.pid}/maps").read_text()
    finally:
        second.terminate()
        assert second.wait(30) == 0
