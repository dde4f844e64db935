"""The demo's own parts. Its whole path is driven by the end-to-end test and by `make demo`."""

import csv
import fcntl
import os
import subprocess
import sys
from pathlib import Path

import pytest

from gendistil.demo import EXAMPLES, TEXTS, command_here

BIN = Path(sys.executable).parent


def test_its_texts_are_not_in_the_example() -> None:
    known = set()
    for name in ("banking10.csv", "banking10_test.csv"):
        with (EXAMPLES / name).open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
        assert rows
        known |= {row["text"].strip().lower() for row in rows}
    assert not known & {text.lower() for text in TEXTS}


@pytest.mark.parametrize(("folder", "path", "expected"), [
    (BIN.parent.parent, "/usr/bin", f"{BIN.parent.name}/bin/gendistil"),
    (Path("/"), "/usr/bin", str(BIN / "gendistil").removeprefix("/")),
    (BIN.parent, f"{BIN}:/usr/bin", "gendistil"),
])  # fmt: skip
def test_the_command_that_it_names_is_found(folder: Path, path: str, expected: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    monkeypatch.setenv("PATH", path)
    command = command_here()
    assert command == expected
    told = subprocess.run([command, "--help"], capture_output=True, text=True, timeout=120, env={**os.environ, "PATH": path})
    assert "distil-again" in told.stdout


def test_a_service_that_cannot_start_is_told_with_its_log(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    with (data / "up.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        command = [sys.executable, "-m", "gendistil.demo", "--data-dir", str(data)]
        result = subprocess.run(command, capture_output=True, text=True, timeout=120, cwd=tmp_path)
    assert result.returncode == 1
    assert "Starting the service" in result.stdout
    assert "is already in use by another gendistil service" in result.stderr
    assert "What to do: " in result.stderr
    assert "Traceback" not in result.stderr
