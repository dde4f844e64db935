"""Results on disk: one entry for each set, seed and method, written as they come in."""

import fcntl
import hashlib
import json
import os
import platform
from importlib.metadata import version
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from app.contracts.rows import Row, dump_rows

RESULTS = Path(__file__).resolve().parents[1] / "results"
_PACKAGES = ("torch", "transformers", "tokenizers", "onnxruntime", "scikit-learn", "numpy")


class Entry(BaseModel):
    """`method`: a peer's name, or `preset/name` for ours. `train_seconds` and `texts_per_second` as in `Outcome`.

    `test_rows` of `test_rows_there` were scored. `redrawn`: whether seeds draw the rows anew.
    `fingerprint` stands for all that decides the figures: rows, settings, versions. `origin` names a command in `Results.origins`.
    """

    set: str
    seed: int
    method: str
    accuracy: float
    macro_f1: float
    parameters: int
    bytes: int
    train_seconds: float | None
    texts_per_second: float
    classes: int
    seed_rows: int
    redrawn: bool
    test_rows: int
    test_rows_there: int
    notes: dict[str, Any]
    fingerprint: str
    origin: str


class Origin(BaseModel):
    """Where entries come from. `settings`: the options that decide figures, not those that choose which are made."""

    settings: list[str]
    cores: int
    processor: str
    python: str
    packages: dict[str, str]


class Results(BaseModel):
    origins: dict[str, Origin] = {}
    entries: list[Entry] = []

    def find(self, set_name: str, seed: int, method: str) -> Entry | None:
        return next((entry for entry in self.entries if (entry.set, entry.seed, entry.method) == (set_name, seed, method)), None)

    def has(self, set_name: str, seed: int, method: str, fingerprint: str) -> bool:
        known = self.find(set_name, seed, method)
        return known is not None and known.fingerprint == fingerprint

    def put(self, entry: Entry, origin: Origin) -> None:
        """Takes the place of the entry with the same set, seed and method; origins that no entry names any more go."""
        entry = entry.model_copy(update={"origin": digest(origin.model_dump())})
        self.origins[entry.origin] = origin
        self.entries = [old for old in self.entries if (old.set, old.seed, old.method) != (entry.set, entry.seed, entry.method)]
        self.entries.append(entry)
        self.entries.sort(key=lambda kept: (kept.set, kept.method, kept.seed))
        used = {kept.origin for kept in self.entries}
        self.origins = {name: kept for name, kept in self.origins.items() if name in used}


def read_results(path: Path) -> Results:
    return Results.model_validate_json(path.read_bytes()) if path.is_file() else Results()


def _write(results: Results, path: Path) -> None:
    """Whole or not at all: a bench that is cut off must not cost the figures of hours."""
    partial = path.with_suffix(".part")
    partial.write_text(results.model_dump_json(indent=1) + "\n", encoding="utf-8")
    partial.replace(path)


def record(path: Path, entry: Entry, origin: Origin) -> Results:
    """Puts one entry into the file and returns all that are there, also those that another bench has written meanwhile."""
    path.parent.mkdir(parents=True, exist_ok=True)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        results = read_results(path)
        results.put(entry, origin)
        _write(results, path)
    finally:
        os.close(folder)
    return results


def this_origin(settings: list[str]) -> Origin:
    return Origin(
        settings=settings,
        cores=len(os.sched_getaffinity(0)),
        processor=platform.machine(),
        python=platform.python_version(),
        packages=our_packages(),
    )


def our_packages() -> dict[str, str]:
    return {name: version(name) for name in _PACKAGES}


def digest(content: Any) -> str:
    """Of plain values, or of rows."""
    if isinstance(content, list) and content and isinstance(content[0], Row):
        return hashlib.sha256(dump_rows(content)).hexdigest()[:16]
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]
