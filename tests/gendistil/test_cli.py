"""The `gendistil` command as a process, against a real API process."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from gendistil import Client
from gendistil.cli import app
from gendistil.commands.jobs import name_after
from tests.app.students.published import publish
from tests.servers import free_port

ROWS = "".join(f"{label} number {number},{label}\n" for label in ("apple", "bread") for number in range(10))


def gendistil(*arguments: str, stdin: str = "", cwd: Path | None = None, **env: str) -> subprocess.CompletedProcess[str]:
    """The command as a person runs it, but for settings in files of this machine's user."""
    command = [sys.executable, "-m", "gendistil.cli", *arguments]
    whole = {**os.environ, "XDG_CONFIG_HOME": "/nowhere", **env}
    return subprocess.run(command, input=stdin, capture_output=True, text=True, timeout=300, env=whole, cwd=cwd)


@pytest.fixture
def csv(tmp_path: Path) -> Path:
    path = tmp_path / "rows.csv"
    path.write_text(f"text,label\n{ROWS}")
    return path


def test_a_job_is_started_listed_and_its_end_shown(service_url: str, csv: Path) -> None:
    made = gendistil("distil", str(csv), "--name", "triage", "--student", "bag", "--preset", "fast", "--no-watch", "--url", service_url)
    assert made.returncode == 0, made.stderr
    job = made.stdout.strip()
    overrides = '{"distil": {"epochs": 3}, "label": {"curve": [5]}}'
    other = json.loads(gendistil("distil", str(csv), "--spec", overrides, "--no-watch", "--json", "--url", service_url).stdout)
    assert (other["name"], other["spec"]["distil"]["epochs"], other["spec"]["label"]["curve"]) == ("rows", 3, [5])
    with Client(service_url) as client:
        seen = client.job(job)
        assert seen.name == "triage"
        assert seen.model_dump()["spec"]["distil"]["student"] == "bag"
        listed = gendistil("jobs", GENDISTIL_URL=service_url)
        assert job in listed.stdout
        assert "queued" in listed.stdout
        only = json.loads(gendistil("jobs", "--name", "triage", "--json", "--url", service_url).stdout)
        assert [found["id"] for found in only] == [job]
    cancelled = gendistil("cancel", job, "--json", "--url", service_url)
    assert json.loads(cancelled.stdout)["status"] == "cancelled"
    watched = gendistil("watch", job, "--url", service_url)
    assert (watched.returncode, watched.stdout) == (1, "")
    assert "finetune_teacher" in watched.stderr
    assert "was cancelled" in watched.stderr
    assert f"What to do: Go on with it: gendistil resume {job}" in watched.stderr
    resumed = gendistil("resume", job, "--url", service_url)
    assert (resumed.returncode, resumed.stdout) == (0, "")
    assert "is queued" in resumed.stderr
    early = gendistil("report", job, "--html", str(csv.parent), "--url", service_url)
    assert early.returncode == 1
    assert "once the job has succeeded" in early.stderr


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
            assert (done.returncode, done.stdout, done.stderr) == (0, "", f"Deleted {arguments[1]}.\n")
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


def test_no_service_is_told_with_the_way_to_start_one(csv: Path) -> None:
    """An address that was named is asked as it is: nothing is started in its place."""
    url = f"http://127.0.0.1:{free_port()}"
    for arguments in (("jobs",), ("distil", str(csv)), ("predict", "triage", "a text")):
        result = gendistil(*arguments, "--url", url)
        assert (result.returncode, result.stdout) == (1, "")
        assert f"No gendistil service answers at {url}" in result.stderr
        assert "gendistil up" in result.stderr
        assert "Traceback" not in result.stderr


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("predict", "triage", "a text", "--file", "rows.csv"), "not together with texts"),
        (("predict", "triage", "--file", "rows.csv", "--escalate"), "no teacher reads files"),
        (("predict", "triage", "a text", "--output", "out.csv"), "only together with --file"),
        (("distil", "none.csv"), "there is no file none.csv"),
        (("distil", "rows.csv", "--spec", "[1]"), "neither JSON nor a file with it"),
        (("distil", "rows.csv", "--spec", "{1}"), "neither JSON nor a file with it"),
        (("predict", "triage", "a text", "--top-k", "[bold]3[/bold]"), "--top-k"),
        (("delete", "alias", "triage"), "write name@alias"),
        (("unknown",), "No such command"),
    ],
)
def test_a_wrong_use_ends_with_code_2(arguments: tuple[str, ...], expected: str) -> None:
    result = CliRunner().invoke(app, list(arguments))
    assert result.exit_code == 2
    assert expected in " ".join(result.stderr.replace("│", " ").split())


@pytest.mark.parametrize(
    ("file", "name"), [("rows.csv", "rows"), ("My Mails (2).jsonl", "my-mails-2"), ("---.csv", "student"), (f"{'x' * 80}.csv", "x" * 63)]
)
def test_a_student_is_named_after_its_file(file: str, name: str) -> None:
    assert name_after(Path(file)) == name


def test_the_client_and_the_command_load_neither_app_nor_workers() -> None:
    seen = "{'app', 'workers', 'torch'} & {name.split('.')[0] for name in sys.modules}"
    code = f"import gendistil.cli, gendistil.demo, sys; print({seen})"
    result = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert result.stdout.strip() == "set()"
