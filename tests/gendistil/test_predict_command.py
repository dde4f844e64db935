"""`gendistil predict` with texts and with standard input, and what else asks a published student."""

import json
import subprocess
import sys

import pytest

from gendistil import Client
from gendistil.commands.options import complete_student
from tests.app.predictions.conftest import Publish
from tests.app.predictions.conftest import publish as publish  # the fixture
from tests.gendistil.test_cli import gendistil


def test_texts_lines_and_what_else_a_student_is_asked(service_url: str, publish: Publish) -> None:
    publish()
    publish()
    at = ("--url", service_url)

    shown = gendistil("predict", "triage", "my [bold]card[/bold]", "pin", *at)
    assert shown.returncode == 0, shown.stderr
    assert "Predictions of triage:2" in shown.stdout
    assert "my [bold]card[/bold]" in shown.stdout

    answer = json.loads(gendistil("predict", "triage:1", "card", "zebra", "--min-score", "0.9", "--top-k", "2", "--json", *at).stdout)
    assert (answer["version"], answer["threshold"]) == (1, 0.9)
    sure, unsure = answer["predictions"]
    assert (sure["label"], sure["abstained"], len(sure["scores"]), unsure["abstained"]) == ("card", False, 2, True)

    lines = gendistil("predict", "triage", "--min-score", "0.9", *at, stdin="my card\n\nzebra\nmoney, [red]money\n")
    assert lines.returncode == 0, lines.stderr
    first, empty, unsure, last = (line.split("\t") for line in lines.stdout.splitlines())
    assert (first[0], first[2], empty, unsure[0], last[0], last[2]) == ("card", "my card", [""], "", "money", "money, [red]money")

    objects = [json.loads(line) for line in gendistil("predict", "triage", "-", "--json", *at, stdin="card\n\npin").stdout.splitlines()]
    assert [(found["text"], found["label"]) for found in objects] == [("card", "card"), ("", None), ("pin", "pin")]

    listed = json.loads(gendistil("students", "--json", *at).stdout)
    assert [(student["name"], len(student["versions"])) for student in listed] == [("triage", 2)]
    assert "triage" in gendistil("students", *at).stdout
    assert "latest" in gendistil("students", "triage", *at).stdout
    drift = json.loads(gendistil("drift", "triage", "--days", "3", "--json", *at).stdout)
    assert (drift["name"], drift["version"], drift["days"]) == ("triage", 2, 3)
    assert "no alias 'nope'" in gendistil("drift", "triage@nope", *at).stderr
    presets = json.loads(gendistil("presets", "--json", *at).stdout)
    assert [preset["name"] for preset in presets if preset["default"]] == ["fast"]


def test_a_line_is_answered_before_the_next_comes(service_url: str, publish: Publish) -> None:
    publish()
    command = [sys.executable, "-m", "gendistil.cli", "predict", "triage", "--url", service_url]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as running:
        assert running.stdin
        assert running.stdout
        for word in ("card", "money"):
            running.stdin.write(f"{word}\n")
            running.stdin.flush()
            assert running.stdout.readline().startswith(f"{word}\t")
        running.stdin.close()
        assert running.wait(60) == 0


def test_names_are_completed(service_url: str, publish: Publish, monkeypatch: pytest.MonkeyPatch) -> None:
    publish()
    with Client(service_url) as client:
        assert [student.name for student in client.students()] == ["triage"]
    monkeypatch.setenv("GENDISTIL_URL", service_url)
    assert complete_student("tri") == ["triage"]
    assert complete_student("x") == []
    monkeypatch.setenv("GENDISTIL_URL", "http://127.0.0.1:1")
    assert complete_student("tri") == []
