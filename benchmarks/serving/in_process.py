"""Students called in process on one core, beside fastText and the teacher, taking turns on the same texts.

From strings to labels and scores, in seconds of processor time, so that other work on the machine weighs less. The students have the
size and the graph of real ones, and random weights: how long a prediction takes does not depend on their values. Written to
`benchmarks/results/<name>.json` and `.md`.
"""

import json
import os
import platform
import shlex
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from tokenizers import Tokenizer

from app.contracts.rows import Row
from app.contracts.spec import StudentKind
from app.contracts.students import ONNX_FILE, TOKENIZER_FILE, StudentManifest
from app.predictions.runtime import StudentRuntime, open_session
from app.predictions.tokenization import PieceEncoder
from benchmarks.quality.peers import PYTHON, ROOT
from benchmarks.quality.rows import BUNDLED, load_set
from benchmarks.serving.service import student_files
from workers.models import resolve_model
from workers.training.encoder import encode, load_tokenizer, new_teacher, predict_logits

KINDS: tuple[StudentKind, ...] = ("bag", "cnn", "bilstm")
RESULTS = Path(__file__).parents[1] / "results"
TEACHER = "embedded:minilm-l6"
TEACHER_SIZES = (1, 8, 32, 128)
TEACHER_TEXTS = 256
PACKAGES = ("onnxruntime", "tokenizers", "numpy", "torch", "transformers")
TARGETS = {"bag": 1.0, "cnn": 0.3}
"""Texts a second, as parts of fastText's."""

Rates = dict[str, list[float]]


@dataclass(frozen=True)
class Texts:
    """`seed` trains fastText; `before`: other texts of the kind, none of them in `test`, that the students have answered earlier."""

    name: str
    seed: list[Row]
    before: list[str]
    test: list[str]


def main(
    data: Annotated[Path | None, typer.Option(envvar="GENDISTIL_BENCH_DATA", help="A folder as for the quality bench.")] = None,
    set_name: Annotated[str, typer.Option("--set")] = "ag_news",
    rounds: Annotated[int, typer.Option(min=1)] = 7,
    python: Annotated[Path, typer.Option(help="Of the peers' environment.")] = PYTHON,
    name: Annotated[str, typer.Option(help="Of the result files.")] = "serving",
) -> None:
    """Time all of them in turn, and write the table."""
    core = min(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {core})  # before the first session or process: they inherit it
    torch.set_num_threads(1)
    loaded = load_set(data, set_name if data else BUNDLED)
    test = [row.text for row in loaded.test]
    texts = Texts(loaded.name, loaded.posted, sorted({row.text for row in loaded.pool} - set(test)), test)
    with tempfile.TemporaryDirectory(prefix="gendistil-serving-") as scratch:
        folder = Path(scratch)
        encoder = resolve_model(TEACHER, folder / "models").path
        files = {kind: folder / kind for kind in KINDS}
        manifests = {kind: student_files(files[kind], kind, encoder / TOKENIZER_FILE) for kind in KINDS}
        with _fasttext(texts, folder, python) as time_fasttext:
            rates = _measure(texts, rounds, files, manifests, time_fasttext, _teacher(encoder, texts))
    _write(name, texts, rates)


def _measure(
    texts: Texts,
    rounds: int,
    files: dict[StudentKind, Path],
    manifests: dict[StudentKind, StudentManifest],
    time_fasttext: Callable[[], dict[str, float]],
    teacher: dict[int, Callable[[], float]],
) -> Rates:
    """Texts a second. A new student answers texts that it has not met (`fresh`), then the same once more (`again`)."""
    rates: Rates = {}

    def add(entry: str, rate: float) -> None:
        rates.setdefault(entry, []).append(rate)
        print(f"{entry}: {rate:,.0f} texts/s", flush=True)

    for size, answer in teacher.items():
        add(f"teacher, batch {size}", answer())
    best = max(teacher, key=lambda size: rates[f"teacher, batch {size}"][0])
    for _round in range(rounds):
        for entry, seconds in time_fasttext().items():
            add(f"fastText, {entry}", len(texts.test) / seconds)
        for kind, manifest in manifests.items():
            tokenizer = PieceEncoder(Tokenizer.from_file(str(files[kind] / TOKENIZER_FILE)))
            student = StudentRuntime(manifest, tokenizer, open_session(files[kind] / ONNX_FILE), manifest.bytes)
            add(f"{kind}, first texts", _rate(student, texts.before))
            add(f"{kind}, fresh", _rate(student, texts.test))
            add(f"{kind}, again", _rate(student, texts.test))
        add(f"teacher, batch {best}", teacher[best]())
    return rates


def _rate(student: StudentRuntime, texts: list[str]) -> float:
    start = time.process_time()
    probabilities = student.probabilities(texts)
    answers = [student.manifest.labels[place] for place in probabilities.argmax(1).tolist()]
    scores = probabilities.max(1).tolist()
    seconds = time.process_time() - start
    assert len(answers) == len(scores) == len(texts)
    return len(texts) / seconds


@contextmanager
def _fasttext(texts: Texts, folder: Path, python: Path) -> Iterator[Callable[[], dict[str, float]]]:
    request = folder / "request.json"
    rows = {"texts": [row.text for row in texts.seed], "labels": [row.label for row in texts.seed], "test": texts.test}
    request.write_text(json.dumps(rows), encoding="utf-8")
    command = [str(python), "-m", "benchmarks.serving.peer", str(request)]
    process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    asked, told = process.stdin, process.stdout
    assert asked is not None
    assert told is not None

    def turn() -> dict[str, float]:
        print(file=asked, flush=True)
        found: dict[str, float] = json.loads(told.readline())
        return found

    try:
        if told.readline().strip() != "ready":
            raise RuntimeError("fastText did not start; `make bench-serving` installs the peers.")
        yield turn
    finally:
        process.terminate()
        process.wait()


def _teacher(folder: Path, texts: Texts) -> dict[int, Callable[[], float]]:
    """Batch size -> texts a second of the torch teacher on part of the texts."""
    teacher, tokenizer = new_teacher(folder, len({row.label for row in texts.seed})).eval(), load_tokenizer(folder)
    part = texts.test[:: max(1, len(texts.test) // TEACHER_TEXTS)][:TEACHER_TEXTS]

    def answer(size: int) -> float:
        start = time.process_time()
        logits = predict_logits(teacher, encode(tokenizer, part, 128), int(tokenizer.pad_token_id or 0), size, torch.device("cpu"))
        torch.softmax(logits, -1).max(-1)
        return len(part) / (time.process_time() - start)

    return {size: partial(answer, size) for size in TEACHER_SIZES}


def _write(name: str, texts: Texts, rates: Rates) -> None:
    medians = {entry: statistics.median(found) for entry, found in rates.items()}
    teacher = max(rate for entry, rate in medians.items() if entry.startswith("teacher"))
    # Where somebody keeps the sets is nobody else's business.
    options = ["DIR" if "/" in word else word for word in sys.argv[1:]]
    result = {
        "command": shlex.join(["python", "-m", "benchmarks.serving.in_process", *options]),
        "machine": {"cores_used": 1, "processor": platform.machine(), "python": platform.python_version()},
        "packages": {package: version(package) for package in PACKAGES},
        "set": texts.name,
        "texts": len(texts.test),
        "texts_before": len(texts.before),
        "rates": rates,
        "texts_a_second": medians,
        "times_fasttext_whole": {entry: rate / medians["fastText, whole"] for entry, rate in medians.items()},
        "times_fasttext_prepared": {entry: rate / medians["fastText, prepared"] for entry, rate in medians.items()},
        "times_teacher": {entry: rate / teacher for entry, rate in medians.items()},
        "targets": TARGETS,
    }
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"{name}.json").write_text(json.dumps(result, indent=1) + "\n")
    table = _table(result)
    (RESULTS / f"{name}.md").write_text(table)
    print(table)


def _table(result: dict[str, Any]) -> str:
    packages = ", ".join(f"{package} {number}" for package, number in result["packages"].items())
    lines = [
        f"`{result['command']}`; {packages}.",
        f"{result['texts']:,} test texts of {result['set']}, from strings to labels and scores, by the processor time of one core; "
        "medians of turns, least and most in brackets. The students have real sizes and random weights.",
        f"`first texts`: {result['texts_before']:,} other texts by a student just loaded; `fresh`: then the test texts; `again`: the same "
        "once more. fastText `whole` prepares the texts as its tutorial does, `prepared` has that done before. The teacher answers a part.",
        "",
        "| what | texts/s | of fastText, whole | of fastText, prepared | of the teacher's best |",
        "|---|---|---|---|---|",
    ]
    for entry, rate in result["texts_a_second"].items():
        spread = f"{min(result['rates'][entry]):,.0f} to {max(result['rates'][entry]):,.0f}"
        ratios = (result[key][entry] for key in ("times_fasttext_whole", "times_fasttext_prepared", "times_teacher"))
        lines.append(f"| {entry} | {rate:,.0f} ({spread}) | " + " | ".join(f"{ratio:.3g}" for ratio in ratios) + " |")
    return "\n".join([*lines, ""])


if __name__ == "__main__":
    typer.run(main)
