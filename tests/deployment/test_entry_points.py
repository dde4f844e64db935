"""What a person types: make targets, the CI script, and the commands and variables that the documentation names."""

import importlib.util
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from app.config import Limits, Serving, Settings, WebhookSettings, WorkerSettings

ROOT = Path(__file__).parents[2]
DOCUMENTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "docs" / "deployment.md"]


def make_targets() -> set[str]:
    return set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_documented_make_targets_exist(document: Path) -> None:
    named = set(re.findall(r"(?:^|`)make ([a-z]+)", document.read_text(), re.MULTILINE))
    if document.name != "deployment.md":
        assert {"install", "test"} & named
    assert named <= make_targets()


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_documented_modules_exist(document: Path) -> None:
    for module in re.findall(r"python -m ([\w.]+)", document.read_text()):
        assert importlib.util.find_spec(module) is not None, module


@pytest.mark.parametrize("target", ["install", "demo", "up", "lint", "test", "clean"])
def test_make_can_plan_every_target(target: str) -> None:
    run = subprocess.run(["make", "-n", target], cwd=ROOT, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr


def test_ci_runs_make_test_and_keeps_its_exit_status(tmp_path: Path) -> None:
    script = ROOT / ".ci" / "run"
    assert os.access(script, os.X_OK)
    (tmp_path / ".ci").mkdir()
    shutil.copy(script, tmp_path / ".ci" / "run")
    (tmp_path / "Makefile").write_text('test:\n\t@echo "CI=$$CI"; exit 7\n')
    environment = {name: value for name, value in os.environ.items() if name not in {"CI", "MAKEFLAGS", "MAKELEVEL"}}
    run = subprocess.run([str(tmp_path / ".ci" / "run")], env=environment, capture_output=True, text=True, check=False)
    assert run.stdout.strip().splitlines()[0] == "CI=true"
    # make turns a recipe's failure into its own exit status, 2.
    assert run.returncode == 2


def test_pre_commit_hooks_are_tools_of_the_environment() -> None:
    (local,) = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"]
    tools = {hook["entry"].split()[0] for hook in local["hooks"]}
    lint = subprocess.run(["make", "-n", "lint"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert tools == {".venv/bin/ruff", ".venv/bin/mypy", ".venv/bin/lint-imports"}
    assert all(tool in lint for tool in tools)


def test_the_settings_table_is_complete_and_right() -> None:
    text = (ROOT / "docs" / "deployment.md").read_text()
    documented = dict(re.findall(r"^\| `([A-Z_]+)` \| ([^|]+?) \|", text, re.MULTILINE))
    expected: dict[str, object] = {}
    for name, field in Settings.model_fields.items():
        if name in {"limits", "serving", "worker", "webhooks"}:
            continue
        expected[name.upper() if name.endswith("_url") else f"GENDISTIL_{name.upper()}"] = field.default
    for prefix, part in (("LIMITS", Limits), ("SERVING", Serving), ("WORKER", WorkerSettings), ("WEBHOOKS", WebhookSettings)):
        expected.update({f"GENDISTIL_{prefix}__{name.upper()}": field.default for name, field in part.model_fields.items()})
    assert set(documented) == set(expected)
    for name, default in expected.items():
        if str(default) not in ("", "None"):
            assert documented[name].strip("`") == str(default), name
