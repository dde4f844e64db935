"""`/predict` over HTTP, one uvicorn worker: rates, batches, many students, moving aliases, overload.

Figures are ratios of things measured in turn in one run, so that what else the machine does weighs on both. The load comes from
a process of its own. Written to `benchmarks/results/<name>.json` and `.md`.
"""

import itertools
import json
import os
import platform
import statistics
import tempfile
import threading
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any

import httpx
import typer

from app.contracts.spec import StudentKind
from app.ownership import in_project
from app.predictions.runtime import load_student
from app.predictions.service import ranked
from app.storage import get_storage
from benchmarks.serving.keys import FLOOD, FLOOD_LIMIT, SHARED, SHARED_LIMIT, cost, flood, make_project, shared_limit
from benchmarks.serving.load import Load, Outcome, run_apart
from benchmarks.serving.service import Service, artefact_key, prepare, publish, redis_running, running, student_files
from workers.models import resolve_model

RESULTS = Path(__file__).parents[1] / "results"
KINDS: tuple[StudentKind, ...] = ("bag", "cnn", "bilstm")
TEACHER = "embedded:minilm-l6"
PACKAGES = ("fastapi", "uvicorn", "onnxruntime", "tokenizers", "numpy")
PARTS = ("single", "batch", "many", "swap", "overload", "keys")

Figures = dict[str, Any]


class Bench:
    """Texts, students and sizes that the parts share."""

    def __init__(self, folder: Path, texts: list[str], rounds: int, seconds: float, students: int) -> None:
        self.texts, self.rounds, self.seconds, self.students = texts, rounds, seconds, students
        self.data_dir = folder / "data"
        self.files = folder / "students"
        prepare(self.data_dir)
        teacher = resolve_model(TEACHER, folder / "models")
        self.manifests = {kind: student_files(self.files / kind, kind, teacher.path / "tokenizer.json") for kind in KINDS}
        self.manifests_of_other = student_files(self.files / "other", "bag", teacher.path / "tokenizer.json", seed=1)
        for kind in KINDS:
            publish(self.data_dir, self.files / kind, self.manifests[kind], kind)

    def load(self, service: Service, student: str, connections: int, *, size: int = 0, **more: Any) -> Load:
        """Single texts, or lists of `size`; an empty name: the empty route."""
        settings = {"port": service.port, "connections": connections, "seconds": self.seconds, **more}
        if not student:
            return Load(path="/empty", bodies=[b""], **settings)
        inputs: list[Any] = list(self.texts[:500])
        if size:
            inputs = [list(itertools.islice(itertools.cycle(self.texts), start, start + size)) for start in range(0, 3 * size, size)]
        return Load(path="/predict", bodies=[json.dumps({"student": student, "inputs": part}).encode() for part in inputs], **settings)


def single(bench: Bench) -> Figures:
    """One text a request, beside an empty route of the same application."""
    figures: Figures = {}
    with running(bench.data_dir) as service:
        for connections in (1, 64):
            rows: dict[str, list[Figures]] = {name: [] for name in ("", *KINDS)}
            for number in range(bench.rounds + 1):
                for name in rows:
                    spent = service.cpu_seconds()
                    outcome = run_apart(bench.load(service, name, connections))
                    spent = (service.cpu_seconds() - spent) / max(sum(map(len, outcome.latencies.values())), 1)
                    if number:  # the first round warms everything up
                        rows[name].append({**_summary(outcome), "server_cpu_us": spent * 1e6})
            empty = _medians(rows.pop(""))
            figures[f"{connections} connections"] = {"empty": empty} | {
                name: {
                    **(found := _medians(of)),
                    "ratio": found["rate"] / empty["rate"],
                    "cpu_ratio": empty["server_cpu_us"] / found["server_cpu_us"],
                }
                for name, of in rows.items()
            }
    return figures


def batch(bench: Bench, size: int = 1000) -> Figures:
    """Lists of texts, beside the same students called in this process."""
    figures: Figures = {}
    with running(bench.data_dir) as service:
        for kind in KINDS:
            student = load_student(get_storage(), artefact_key(kind))
            rates: dict[str, list[float]] = {"http": [], "in_process": []}
            for number in range(bench.rounds + 1):
                outcome = run_apart(bench.load(service, kind, 2, size=size))
                done, began = 0, time.perf_counter()
                while (spent := time.perf_counter() - began) < bench.seconds:
                    texts = list(itertools.islice(itertools.cycle(bench.texts), done % len(bench.texts), done % len(bench.texts) + size))
                    ranked(student.probabilities(texts), student.manifest.labels, 1, None)
                    done += size
                if number:
                    rates["http"].append(outcome.rate() * size)
                    rates["in_process"].append(done / spent)
            medians = {name: statistics.median(found) for name, found in rates.items()}
            figures[kind] = {**medians, "ratio": medians["http"] / medians["in_process"]}
    return figures


def many(bench: Bench) -> Figures:
    """Hundreds of students in one process: what loading each takes, and what they take together."""
    kind: StudentKind = "cnn"
    for number in range(bench.students):
        publish(bench.data_dir, bench.files / kind, bench.manifests[kind], f"many-{number}")
    with running(bench.data_dir, student_cache_bytes=str(10**12)) as service, _client(service) as client:
        client.post("/predict", json={"student": kind, "inputs": "a"}).raise_for_status()
        before = service.rss()
        first: list[float] = []
        again: list[float] = []
        for seconds in (first, again):
            for number in range(bench.students):
                began = time.perf_counter()
                client.post("/predict", json={"student": f"many-{number}", "inputs": bench.texts[0]}).raise_for_status()
                seconds.append(time.perf_counter() - began)
        after = service.rss()
        metrics = client.get("/metrics").text
    counted = next(float(line.split()[1]) for line in metrics.splitlines() if line.startswith("gendistil_student_cache_bytes "))
    return {
        "students": bench.students,
        "rss_before": before,
        "rss_after": after,
        "rss_each": (after - before) / bench.students,
        "counted_each": counted / (bench.students + 1),
        "first_ms": {"p50": statistics.median(first) * 1e3, "max": max(first) * 1e3},
        "again_ms": {"p50": statistics.median(again) * 1e3, "max": max(again) * 1e3},
    }


def swap(bench: Bench) -> Figures:
    """An alias moves to and fro under load: every answer must be what the version that it names would say."""
    text = bench.texts[0]
    publish(bench.data_dir, bench.files / "bag", bench.manifests["bag"], "swapped")
    publish(bench.data_dir, bench.files / "other", bench.manifests_of_other, "swapped", 2)
    with running(bench.data_dir) as service, _client(service) as client:
        expected = {
            version: client.post("/predict", json={"student": f"swapped:{version}", "inputs": text}).raise_for_status().json()
            for version in (1, 2)
        }
        stop, moves = threading.Event(), itertools.count()
        mover = threading.Thread(target=_move, args=(service, stop, moves))
        mover.start()
        body = json.dumps({"student": "swapped", "inputs": text}).encode()
        outcome = run_apart(Load(service.port, "/predict", [body], 64, 3 * bench.seconds, keep_answers=True))
        stop.set()
        mover.join()
    answers = [(json.loads(content), count) for content, count in outcome.answers.items()]
    wrong = sum(count for answer, count in answers if not _same(answer, expected.get(answer.get("version"))))
    by_version = {str(version): sum(count for answer, count in answers if answer.get("version") == version) for version in (1, 2)}
    return {"answers": outcome.count(), "by_version": by_version, "moves": next(moves), "wrong": wrong, "failed": _failed(outcome)}


def overload(bench: Bench, seconds: float, factor: float = 10.0) -> Figures:
    """Requests at ten times the rate that it can answer, from callers that do not wait; then as many as before."""
    figures: Figures = {}
    with running(bench.data_dir) as service:
        # As many callers as keep it busy and are all let in.
        for name, size, callers in (("single texts", 0, 64), ("lists of 100", 100, 16)):
            run_apart(bench.load(service, "cnn", callers, size=size))
            capacity = run_apart(bench.load(service, "cnn", callers, size=size)).rate()
            memory = _Sampler(service.rss)
            with memory:
                flood = run_apart(bench.load(service, "cnn", 2000, size=size, rate=factor * capacity, seconds=seconds))
            after = run_apart(bench.load(service, "cnn", callers, size=size))
            again = run_apart(bench.load(service, "cnn", callers, size=size)).rate()
            capacity = statistics.median([capacity, again])
            goodput = [flood.by_second[second] for second in range(1, int(seconds))]
            figures[name] = {
                "capacity": capacity,
                "offered": factor * capacity,
                "goodput": flood.rate(),
                "goodput_ratio": flood.rate() / capacity,
                "worst_second_ratio": min(goodput) / capacity if goodput else None,
                "refused": flood.count(429),
                "refused_p99_ms": flood.percentile(99, 429) * 1e3,
                "served_p99_ms": flood.percentile(99) * 1e3,
                "unsent": flood.unsent,
                "failed": _failed(flood) - flood.count(429),
                "rss": {"before": memory.samples[0], "early": memory.samples[len(memory.samples) // 4], "last": memory.samples[-1]},
                "after_by_second_ratio": [after.by_second[second] / capacity for second in range(int(after.seconds))],
            }
    return figures


def keys(bench: Bench) -> Figures:
    """API keys: what asking for them costs, and what the rates of projects keep."""
    bodies = bench.load(Service(0, 0), "cnn", 1).bodies
    for project, limit in ((FLOOD, FLOOD_LIMIT), (SHARED, SHARED_LIMIT)):
        make_project(project, limit)
        with in_project(project):
            publish(bench.data_dir, bench.files / "cnn", bench.manifests["cnn"], "cnn")
    with redis_running(bench.data_dir) as url, running(bench.data_dir, redis_url=url) as without:
        wanted = {"redis_url": url, "keys": "required"}
        with running(bench.data_dir, **wanted) as first, running(bench.data_dir, **wanted) as second:
            return {
                "cost": cost(without, first, bodies, bench.rounds, bench.seconds),
                "flood": flood(first, bodies, bench.rounds, bench.seconds),
                "shared limit": shared_limit(first, second, bodies, bench.rounds, bench.seconds),
            }


class _Sampler(threading.Thread):
    """Reads a figure five times a second."""

    def __init__(self, read: Callable[[], int]) -> None:
        super().__init__(daemon=True)
        self.read, self.samples, self.stopped = read, [read()], threading.Event()

    def run(self) -> None:
        while not self.stopped.wait(0.2):
            self.samples.append(self.read())

    def __enter__(self) -> "_Sampler":
        self.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self.stopped.set()
        self.join()


def _client(service: Service) -> httpx.Client:
    return httpx.Client(base_url=f"http://127.0.0.1:{service.port}", timeout=60, trust_env=False)


def _move(service: Service, stop: threading.Event, moves: "itertools.count[int]") -> None:
    with _client(service) as client:
        while not stop.is_set():
            target = {"version": next(moves) % 2 + 1}
            client.put("/students/swapped/aliases/latest", json=target).raise_for_status()
            time.sleep(0.02)


def _same(answer: Figures, expected: Figures | None) -> bool:
    # In a batch with others, sums are taken in another order.
    if expected is None:
        return False
    found, wanted = answer["predictions"][0], expected["predictions"][0]
    return bool(found["label"] == wanted["label"] and abs(found["score"] - wanted["score"]) < 1e-5)


def _failed(outcome: Outcome) -> int:
    return outcome.failed + sum(len(found) for status, found in outcome.latencies.items() if status != 200)


def _summary(outcome: Outcome) -> dict[str, float]:
    p50, p99 = outcome.percentile(50), outcome.percentile(99)
    return {"rate": outcome.rate(), "p50_ms": p50 * 1e3, "p99_ms": p99 * 1e3, "p99_to_p50": p99 / p50, "failed": _failed(outcome)}


def _medians(rows: list[Figures]) -> Figures:
    return {name: statistics.median(row[name] for row in rows) for name in rows[0]}


def _table(results: Figures) -> str:
    lines = [
        "# Serving over HTTP",
        "",
        "One uvicorn worker; see [docs/serving.md](../../docs/serving.md). Made by `python -m benchmarks.serving.http`.",
        "",
    ]
    for part, figures in results["parts"].items():
        lines += [f"## {part}", "", "```", json.dumps(_rounded(figures), indent=1), "```", ""]
    return "\n".join(lines)


def _rounded(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _rounded(item) for name, item in value.items()}
    return float(f"{value:.4g}") if isinstance(value, float) else value


def main(
    texts: Annotated[Path, typer.Argument(help="JSON Lines with a field `text`.")],
    parts: Annotated[str, typer.Option(help=f"Some of {','.join(PARTS)}.")] = ",".join(PARTS),
    rounds: int = 5,
    seconds: Annotated[float, typer.Option(help="Of one measurement.")] = 5.0,
    overload_seconds: float = 60.0,
    students: Annotated[int, typer.Option(help="In one process, for `many`.")] = 500,
    name: Annotated[str, typer.Option(help="Of the result files.")] = "serving_http",
) -> None:
    """Measures the parts one after the other and writes the results."""
    with texts.open() as file:
        found = [json.loads(line)["text"] for line in file]
    runs: dict[str, Callable[[Bench], Figures]] = {"single": single, "batch": batch, "many": many, "swap": swap, "keys": keys}
    runs["overload"] = lambda bench: overload(bench, overload_seconds)
    results: Figures = {
        "machine": {"cores": len(os.sched_getaffinity(0)), "processor": platform.machine(), "python": platform.python_version()},
        "packages": {package: version(package) for package in PACKAGES},
        "texts": len(found),
        "parts": {},
    }
    with tempfile.TemporaryDirectory(prefix="gendistil-serving-") as folder:
        bench = Bench(Path(folder), found, rounds, seconds, students)
        for part in parts.split(","):
            results["parts"][part] = runs[part](bench)
            typer.echo(f"{part}: {json.dumps(_rounded(results['parts'][part]))}")
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"{name}.json").write_text(json.dumps(results, indent=1) + "\n")
    (RESULTS / f"{name}.md").write_text(_table(results))


if __name__ == "__main__":
    typer.run(main)
