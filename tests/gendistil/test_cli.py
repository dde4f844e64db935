"""The `gendistil` command as a process, against a real API process."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from gendistil import Client
from tests.app.students.published import publish
from tests.servers import free_port

ROWS = "".join(f"{label} number {number},{label}\n" for label in ("apple", "bread") for number in range(10))


def gendistil(*arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "gendistil.cli", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, env={**os.environ, **env})


@pytest.fixture
def csv(tmp_path: Path) -> Path:
    path = tmp_path / "rows.csv"
    path.write_text(f"text,label\n{ROWS}")
    return path


def test_a_job_is_started_listed_and_its_end_shown(service_url: str, csv: Path) -> None:
    made = gendistil("distil", str(csv), "--name", "triage", "--student", "bag", "--preset", "fast", "--no-watch", "--url", service_url)
    assert made.returncode == 0, made.stderr
    job = made.stdout.strip()
    with Client(service_url) as client:
        seen = client.job(job)
        assert seen.name == "triage"
        assert seen.model_dump()["spec"]["distil"]["student"] == "bag"
        listed = gendistil("jobs", GENDISTIL_URL=service_url)
        assert job in listed.stdout
        assert "queued" in listed.stdout
        client.cancel(job)
    watched = gendistil("watch", job, "--url", service_url)
    assert watched.returncode == 1
    assert "finetune_teacher" in watched.stdout
    assert "was cancelled" in watched.stderr
    assert "What to do: " in watched.stderr


def test_an_estimate_is_shown_and_starts_nothing(service_url: str, csv: Path) -> None:
    shown = gendistil("estimate", str(csv), "--preset", "fast", "--url", service_url)
    assert shown.returncode == 0, shown.stderr
    for word in ("finetune_teacher", "publish", "in all", "two CPU cores", "It fits"):
        assert word in shown.stdout
    answer = json.loads(gendistil("estimate", str(csv), "--json", "--student", "bag", "--url", service_url).stdout)
    assert answer["spec"]["distil"]["student"] == "bag"
    with Client(service_url) as client:
        assert client.jobs() == []


def test_a_job_and_its_dataset_are_deleted(service_url: str, csv: Path) -> None:
    with Client(service_url) as client:
        job = client.create_job("triage", file=csv)
        dataset = job.model_dump()["dataset_id"]
        running = gendistil("delete", "job", job.id, "--url", service_url)
        assert running.returncode == 1
        assert "cancel" in running.stderr
        client.cancel(job.id)
        for arguments in (("job", job.id), ("dataset", dataset)):
            done = gendistil("delete", *arguments, "--url", service_url)
            assert (done.returncode, done.stderr) == (0, "")
        assert client.jobs() == []
    assert "nobody" in gendistil("delete", "student", "nobody:3", "--url", service_url).stderr
    assert "name:version" in gendistil("delete", "student", "nobody:three", "--url", service_url).stderr


def test_an_alias_is_moved_and_rolled_back(service_url: str) -> None:
    for number in (1, 2):
        publish("triage", number)
    for version in (1, 2):
        moved = gendistil("alias", "triage", "production", str(version), "--reason", "checked", "--url", service_url)
        assert (moved.returncode, moved.stdout) == (0, f"triage@production is version {version}\n"), moved.stderr
    for student in ("triage@production", "triage"):
        back = gendistil("rollback", student, "--url", service_url)
        assert (back.returncode, back.stdout.partition(" is ")[2]) == (0, "version 1\n"), back.stderr
    refused = gendistil("rollback", "triage", "--url", service_url)
    assert refused.returncode == 1
    assert "meant no other version" in refused.stderr


def test_garbage_is_collected(service_url: str) -> None:
    shown = gendistil("gc", "--dry-run", "--url", service_url)
    assert shown.returncode == 0, shown.stderr
    assert "would be removed" in shown.stdout
    assert "temporary files" in shown.stdout
    answer = json.loads(gendistil("gc", "--json", "--url", service_url).stdout)
    assert (answer["dry_run"], answer["bytes"]) == (False, 0)


def test_faults_are_printed_with_rows_and_remedy(service_url: str, csv: Path) -> None:
    csv.write_text(f"text,label\n{ROWS},apple\n[bold]text,\n")
    result = gendistil("distil", str(csv), "--name", "triage", "--url", service_url)
    assert result.returncode == 1
    assert "row 21" in result.stderr
    assert "row 22" in result.stderr
    assert "What to do: " in result.stderr
    assert "Traceback" not in result.stderr


def test_an_unknown_student_is_told(service_url: str) -> None:
    result = gendistil("predict", "nobody", "a text", "--url", service_url)
    assert result.returncode == 1
    assert "nobody" in result.stderr


def test_no_service_is_told_with_the_way_to_start_one() -> None:
    result = gendistil("jobs", "--url", f"http://127.0.0.1:{free_port()}")
    assert result.returncode == 1
    assert "gendistil up" in result.stderr
    assert "Traceback" not in result.stderr


def test_the_client_and_the_command_load_neither_app_nor_workers() -> None:
    code = "import gendistil.cli, gendistil.demo, sys; print({'app', 'workers', 'torch'} & {name.split('.')[0] for name in sys.modules})"
    result = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert result.stdout.strip() == "set()"
