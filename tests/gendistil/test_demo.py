"""The demo's own parts. Its whole path is driven by the end-to-end test and by `make demo`."""

import csv
import fcntl
import subprocess
import sys
from pathlib import Path

from gendistil.demo import EXAMPLES, TEXTS


def test_its_texts_are_not_in_the_example() -> None:
    known = set()
    for name in ("banking10.csv", "banking10_test.csv"):
        with (EXAMPLES / name).open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
        assert rows
        known |= {row["text"].strip().lower() for row in rows}
    assert not known & {text.lower() for text in TEXTS}


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
