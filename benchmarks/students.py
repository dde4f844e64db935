"""`make bench`: every student on the same rows through the HTTP API of a service of its own, beside teacher and baselines.

The first job does all the work, the others reuse its teacher, generator and transfer set. Written to `benchmarks/results/<name>.json` and
`.md`, with the command, the versions and the machine.
"""

import json
import os
import platform
import shlex
import statistics
import sys
import tempfile
import time
from collections import defaultdict
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any

import typer

from benchmarks.quality.plan import seeded_spec
from gendistil.client import Client
from gendistil.demo import EXAMPLES, service
from gendistil.display import JobDisplay
from gendistil.terminal import make_console

RESULTS = Path(__file__).parent / "results"
KINDS = ("cnn", "bag", "bilstm")
PACKAGES = ("torch", "transformers", "onnxruntime", "tokenizers", "scikit-learn")


def main(
    rows: Annotated[Path, typer.Option(help="CSV or JSONL with text and label.")] = EXAMPLES / "banking10.csv",
    test: Annotated[Path, typer.Option(help="Rows that only score.")] = EXAMPLES / "banking10_test.csv",
    name: Annotated[str, typer.Option(help="Of the result files.")] = "banking10",
    preset: Annotated[str, typer.Option()] = "fast",
    seeds: Annotated[int, typer.Option(help="Seeds of every stage; the spread is given over them.")] = 1,
) -> None:
    """Distil each kind of student on the same rows, and write the table."""
    console = make_console()
    scores: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    seconds: dict[str, list[float]] = defaultdict(list)
    with tempfile.TemporaryDirectory() as folder, service(console, Path(folder)) as (client, _process):
        for seed in range(seeds):
            for kind in KINDS:
                began = time.monotonic()
                entries = _distil(client, console, rows, test, preset, kind, seed)
                seconds[kind].append(time.monotonic() - began)
                _note(scores, entries, kind)
    RESULTS.mkdir(exist_ok=True)
    result = {
        "command": shlex.join(["python", "-m", "benchmarks.students", *sys.argv[1:]]),
        "machine": {"cores": len(os.sched_getaffinity(0)), "processor": platform.machine(), "python": platform.python_version()},
        "packages": {package: version(package) for package in PACKAGES},
        "preset": preset,
        "seeds": seeds,
        "job_seconds": seconds,
        "scores": scores,
    }
    (RESULTS / f"{name}.json").write_text(json.dumps(result, indent=1) + "\n")
    table = _table(result)
    (RESULTS / f"{name}.md").write_text(table)
    print(table)


def _distil(client: Client, console: Any, rows: Path, test: Path, preset: str, kind: str, seed: int) -> list[dict[str, Any]]:
    spec = seeded_spec(preset, {"distil": {"student": kind}}, seed).model_dump(mode="json")
    job = client.create_job(f"{kind}-{seed}", file=rows, test_file=test, preset=preset, spec=spec)
    with JobDisplay(console) as display:
        client.wait(job.id, on_update=display.update)
    return [entry.model_dump() for entry in client.report(job.id).entries]


def _note(scores: dict[str, dict[str, list[float]]], entries: list[dict[str, Any]], kind: str) -> None:
    """Teacher and TF-IDF are the same for all kinds: noted once."""
    for entry in entries:
        shared = entry["name"] in {"teacher", "tfidf"}
        if shared and kind != KINDS[0]:
            continue
        row = scores[entry["name"] if shared else f"{kind}: {entry['name']}"]
        for column in ("accuracy", "macro_f1"):
            row[column].append(entry[column]["value"])
        for column in ("parameters", "bytes", "latency_ms"):
            row[column].append(entry[column])


def _table(result: dict[str, Any]) -> str:
    lines = [
        f"`{result['command']}` on {result['machine']['cores']} cores, preset `{result['preset']}`, {result['seeds']} seed(s).",
        "",
        "| classifier | accuracy | macro F1 | parameters | bytes | ms a text |",
        "|---|---|---|---|---|---|",
    ]
    for name, columns in result["scores"].items():
        accuracy, macro_f1 = (_spread([100 * value for value in columns[column]]) for column in ("accuracy", "macro_f1"))
        parameters, size = columns["parameters"][0], columns["bytes"][0]
        lines.append(f"| {name} | {accuracy} | {macro_f1} | {parameters:,} | {size:,} | {statistics.median(columns['latency_ms']):.2f} |")
    jobs = ", ".join(f"{kind} {statistics.mean(taken):.0f} s" for kind, taken in result["job_seconds"].items())
    return "\n".join([*lines, "", f"Job: {jobs}; the first of a seed trains teacher and generator, the others reuse them.", ""])


def _spread(values: list[float]) -> str:
    return f"{values[0]:.1f}" if len(values) == 1 else f"{statistics.mean(values):.1f} ± {statistics.stdev(values):.1f}"


if __name__ == "__main__":
    typer.run(main)
