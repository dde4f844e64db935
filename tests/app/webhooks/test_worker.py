"""Senders as they run: in a thread, and in the process of a real worker."""

import os
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import text
from starlette.testclient import TestClient

from app.config import Settings
from app.database import get_engine
from app.webhooks.sender import run_sender
from tests.app.webhooks.conftest import log, subscribe
from tests.app.webhooks.receiver import Receiver
from tests.e2e.service import process
from tests.waiting import wait_for


@pytest.fixture
def api(on_loopback: None, service_env: Settings) -> Iterator[TestClient]:
    from app.main import create_app

    with TestClient(create_app()) as client:
        yield client


@pytest.fixture
def sending(api: TestClient) -> Iterator[threading.Thread]:
    stop = threading.Event()
    thread = threading.Thread(target=run_sender, args=(stop,))
    thread.start()
    yield thread
    stop.set()
    thread.join(60)
    assert not thread.is_alive()


@pytest.mark.usefixtures("sending")
def test_messages_are_sent_as_they_come(api: TestClient, target: Receiver) -> None:
    webhook = subscribe(api, target.url())
    for number in (1, 2):
        api.post(f"/webhooks/{webhook['id']}/test")
        wait_for(lambda number=number: len(target.received) == number, what=f"message {number}")
    wait_for(lambda: {delivery["status"] for delivery in log(api, webhook)} == {"delivered"}, what="the records")


def test_a_database_that_is_away_is_waited_for(api: TestClient, target: Receiver, sending: threading.Thread) -> None:
    webhook = subscribe(api, target.url())
    with get_engine().begin() as connection:
        connection.execute(text("ALTER TABLE webhook_deliveries RENAME TO elsewhere"))
    sending.join(2.5)  # some rounds
    assert sending.is_alive()
    with get_engine().begin() as connection:
        connection.execute(text("ALTER TABLE elsewhere RENAME TO webhook_deliveries"))
    api.post(f"/webhooks/{webhook['id']}/test")
    wait_for(lambda: target.received, what="the message")


def test_a_worker_for_files_sends_and_logs_no_address(api: TestClient, target: Receiver, tmp_path: Path) -> None:
    webhook = subscribe(api, target.url("/ok?token=precious"))
    api.post(f"/webhooks/{webhook['id']}/test")
    command = [sys.executable, "-m", "workers.main", "--queues", "bulk"]
    environment = {"PYTHONPATH": os.pathsep.join(sys.path)}
    with process(command, tmp_path / "worker.log", environment):
        wait_for(lambda: log(api, webhook)[0]["status"] == "delivered", 120, (tmp_path / "worker.log").read_text)
    assert target.received[0].path == "/ok?token=precious"
    assert "precious" not in (tmp_path / "worker.log").read_text()
    assert target.received[0].verified(webhook["secret"])["type"] == "webhook.test"
