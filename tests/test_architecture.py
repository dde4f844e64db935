"""What import-linter (`make lint`) cannot say."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SOURCES = sorted(
    path for folder in ("app", "benchmarks", "gendistil", "migrations", "tests", "workers") for path in (ROOT / folder).rglob("*.py")
)
HEAVY = {"torch", "transformers", "sklearn", "onnx", "onnxscript", "gguf", "workers"}


def imported(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield "." * node.level + (node.module or "")


@pytest.mark.parametrize("module", ["app.main", "app.embedded", "gendistil.cli"])
def test_a_fresh_interpreter_loads_nothing_heavy(module: str) -> None:
    code = f"import sys, {module}; print(*{{name.partition('.')[0] for name in sys.modules}})"
    run = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True, timeout=120)
    loaded = set(run.stdout.split())
    assert module.partition(".")[0] in loaded
    assert not loaded & HEAVY


def test_contracts_import_pydantic_and_the_standard_library_alone() -> None:
    paths = list((ROOT / "app" / "contracts").glob("*.py"))
    assert len(paths) > 5
    allowed = {*sys.stdlib_module_names, "pydantic"}
    foreign = {
        f"{path.name}: {name}"
        for path in paths
        for name in imported(path)
        if not name.startswith("app.contracts") and name.partition(".")[0] not in allowed
    }
    assert not foreign


def test_no_file_is_longer_than_400_lines() -> None:
    assert len(SOURCES) > 50
    lengths = {str(path.relative_to(ROOT)): len(path.read_text().splitlines()) for path in SOURCES}
    assert {name: lines for name, lines in lengths.items() if lines > 400} == {}
