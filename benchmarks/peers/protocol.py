"""What the bench and a peer tell each other, as JSON files. Standard library alone: both environments import it.

A peer gets the test texts without their labels; scoring is the bench's.
"""

import json
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

_MEASURED_SECONDS = 0.5


@dataclass(frozen=True)
class PeerOptions:
    """`setfit_steps`: contrastive steps at most, -1 for SetFit's own number. `validation_fraction`: for a peer that needs such a part."""

    setfit_steps: int = 500
    autotune_seconds: int = 60
    validation_fraction: float = 0.15


@dataclass(frozen=True)
class PeerRequest:
    """`encoder`: a folder in the layout of sentence-transformers. `scratch`: for what the peer writes; gone afterwards."""

    methods: list[str]
    texts: list[str]
    labels: list[str]
    test: list[str]
    encoder: str
    seed: int
    scratch: str
    options: PeerOptions

    def write(self, path: Path) -> None:
        path.write_text(json.dumps(asdict(self)), encoding="utf-8")

    @classmethod
    def read(cls, path: Path) -> "PeerRequest":
        content = json.loads(path.read_text(encoding="utf-8"))
        return cls(**{**content, "options": PeerOptions(**content["options"])})


@dataclass(frozen=True)
class PeerAnswer:
    """`answers`: one label a test text. `bytes`: what must be kept to predict. `train_seconds`: from rows to a model, without imports."""

    answers: list[str]
    parameters: int
    bytes: int
    train_seconds: float
    texts_per_second: float
    notes: dict[str, Any] = field(default_factory=dict)


def write_answers(answers: dict[str, PeerAnswer], path: Path) -> None:
    path.write_text(json.dumps({name: asdict(answer) for name, answer in answers.items()}), encoding="utf-8")


def read_answers(path: Path) -> dict[str, PeerAnswer]:
    return {name: PeerAnswer(**answer) for name, answer in json.loads(path.read_text(encoding="utf-8")).items()}


def timed_answers(predict: Callable[[list[str]], Sequence[object]], texts: list[str]) -> tuple[list[str], float]:
    """The answers to all texts, and texts per second: the median over as many passes as fill half a second."""
    predict(texts[:32])  # buffers and thread pools are made at the first call
    rates: list[float] = []
    began = time.perf_counter()
    answers: Sequence[object] = []
    while not rates or time.perf_counter() - began < _MEASURED_SECONDS:
        start = time.perf_counter()
        answers = predict(texts)
        rates.append(len(texts) / (time.perf_counter() - start))
    return [str(answer) for answer in answers], statistics.median(rates)


def folder_bytes(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
