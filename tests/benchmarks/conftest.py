"""A set on disk in the layout of docs/benchmarks.md, made of rows with an obvious signal."""

from collections.abc import Callable
from pathlib import Path

import pytest

from app.contracts.rows import Row, dump_rows
from benchmarks.quality.store import Entry
from tests.workers.tiny import make_rows

PER_LABEL = 12
MakeEntry = Callable[..., Entry]


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`cards`: 40 rows a label in the pool, 12 of them posted, and 20 other ones to score on."""
    folder = tmp_path_factory.mktemp("data")
    by_label: dict[str, list[Row]] = {}
    for row in make_rows(60):
        by_label.setdefault(row.label, []).append(row)
    (folder / "cards").mkdir()
    for name, first, last in (("train.jsonl", 0, 40), (f"train_{PER_LABEL}_per_class.jsonl", 0, PER_LABEL), ("test.jsonl", 40, 60)):
        rows = [row for members in by_label.values() for row in members[first:last]]
        (folder / "cards" / name).write_bytes(dump_rows(rows))
    return folder


@pytest.fixture
def make_entry() -> MakeEntry:
    """An entry with plausible figures; keyword arguments take their place."""

    def make(method: str, accuracy: float, **fields: object) -> Entry:
        figures = {
            "set": "cards",
            "seed": 0,
            "macro_f1": accuracy - 0.01,
            "parameters": 1000,
            "bytes": 4000,
            "train_seconds": 12.0,
            "texts_per_second": 5000.0,
            "classes": 3,
            "seed_rows": 36,
            "redrawn": True,
            "test_rows": 400,
            "test_rows_there": 400,
            "notes": {},
            "fingerprint": "f",
            "origin": "",
        }
        return Entry.model_validate({**figures, "method": method, "accuracy": accuracy, **fields})

    return make
