"""From an empty shell to a prediction: commands that start the service themselves, and the one that stops it."""

import csv
import json
import os
import signal
import socket
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from functools import partial
from pathlib import Path

import pytest

from gendistil import background
from tests.gendistil.test_cli import gendistil
from tests.servers import free_port
from tests.waiting import wait_for
from tests.workers.tiny import make_rows, save_encoder, save_llama, tiny_spec


@pytest.fixture
def folder(tmp_path: Path, clean_settings: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder of its own, with nothing set; what was started in it is stopped."""
    yield tmp_path
    background.stop(tmp_path / ".gendistil")


@pytest.mark.e2e
@pytest.mark.timeout(1200)
def test_two_commands_lead_from_an_empty_shell_to_a_prediction(folder: Path) -> None:
    """Port 8000 is another program's: where the service really listens, the data folder tells."""
    spec = tiny_spec(save_encoder(folder / "encoder"), save_llama(folder / "llama"), distil={"student": "bag"})
    (folder / "spec.json").write_text(spec.model_dump_json())
    with (folder / "rows.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerows([("text", "label"), *((row.text, row.label) for row in make_rows(12))])
    untouched = gendistil("predict", "rows", "a text", cwd=folder, GENDISTIL_URL=f"http://127.0.0.1:{free_port()}")
    assert untouched.returncode == 1
    assert not (folder / ".gendistil").exists()  # an address that was named is asked as it is

    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            other.bind(("127.0.0.1", background.PORT))
            other.listen()
        except OSError:
            pytest.skip("port 8000 is in use on this machine")
        command = [sys.executable, "-m", "gendistil.cli", "distil", "rows.csv", "--spec", "spec.json"]
        run = subprocess.run(
            command,
            cwd=folder,
            capture_output=True,
            text=True,
            timeout=900,
            env={**os.environ, "XDG_CONFIG_HOME": "/nowhere", "GENDISTIL_MODELS": '["/*"]'},
        )
    assert run.returncode == 0, run.stderr
    assert "Starting the service in the background" in run.stderr
    assert "Stop it with: gendistil down" in run.stderr
    assert "Report on" in run.stdout
    service = background.announced(folder / ".gendistil")
    assert service
    assert not service.url.endswith(str(background.PORT))

    predicted = gendistil("predict", "rows", "envelope courier delivery please", "--json", cwd=folder)
    assert (json.loads(predicted.stdout)["version"], predicted.stderr) == (1, ""), predicted.stderr
    assert gendistil("up", "--background", cwd=folder).stdout.strip() == service.url  # one is enough
    refused = gendistil("up", "--port", str(free_port()), cwd=folder)
    assert refused.returncode == 1
    assert f"pid {service.pid}" in refused.stderr
    assert "gendistil down" in refused.stderr
    found = {finding["name"]: finding["detail"] for finding in json.loads(gendistil("doctor", "--json", cwd=folder).stdout)}
    assert found["service"] == f"ready at {service.url}"

    down = gendistil("down", "--json", cwd=folder)
    assert json.loads(down.stdout)["stopped"] == service.pid
    assert background.holder(folder / ".gendistil") is None
    assert not background.answers(service.url)
    again = gendistil("down", cwd=folder)
    assert (again.returncode, again.stdout) == (0, "")
    assert "No service" in again.stderr
    assert gendistil("jobs", cwd=folder).returncode == 1  # a list starts nothing


@pytest.mark.e2e
def test_a_ctrl_c_while_the_service_starts_leaves_nothing_behind(folder: Path) -> None:
    (folder / "rows.csv").write_text("text,label\n")
    command = [sys.executable, "-m", "gendistil.cli", "distil", "rows.csv"]
    (folder / ".gendistil").mkdir()
    with closing(sqlite3.connect(folder / ".gendistil" / "gendistil.db", isolation_level=None)) as held:
        held.execute("BEGIN EXCLUSIVE")  # The service cannot get past its database.
        with (folder / "out.log").open("wb") as log:
            environment = {**os.environ, "GENDISTIL_DATA_DIR": ".gendistil"}
            # As a terminal starts it: what a shell starts in the background ignores SIGINT, and so would all its children.
            heeding = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
            running = subprocess.Popen(command, cwd=folder, stdout=log, stderr=log, env=environment, preexec_fn=heeding)
        pid = wait_for(lambda: background.holder(folder / ".gendistil"), 120, (folder / "out.log").read_text)
        running.send_signal(signal.SIGINT)
    assert running.wait(90) == 130, (folder / "out.log").read_text()
    assert background.holder(folder / ".gendistil") is None
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_a_service_that_cannot_start_is_told_with_its_log(folder: Path) -> None:
    refused = gendistil("up", "--background", cwd=folder, GENDISTIL_LIMITS__MAX_ROWS="many")
    assert (refused.returncode, refused.stdout) == (1, "")
    assert "A setting is wrong" in refused.stderr  # seen before anything is started
    refused = gendistil("up", "--background", cwd=folder, DATABASE_URL="sqlite:////proc/none/gendistil.db")
    assert (refused.returncode, refused.stdout) == (1, "")
    assert "The service did not start" in refused.stderr
    assert "gendistil doctor" in refused.stderr
    (folder / "file").touch()
    refused = gendistil("up", "--background", "--data-dir", "file/data", cwd=folder)
    assert "cannot be written" in refused.stderr


def test_what_a_killed_service_left_behind_is_not_believed(folder: Path) -> None:
    data = folder / ".gendistil"
    assert background.announced(data) is None
    data.mkdir()
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    for content in (json.dumps({"pid": ended.pid, "url": "http://127.0.0.1:1"}), '{"pid": ', "[]", '{"pid": "x", "url": ""}'):
        (data / background.ANNOUNCED).write_text(content)
        assert background.announced(data) is None
    (data / background.LOCK).write_text(str(ended.pid))
    assert background.holder(data) is None
    assert background.stop(data) is None
