"""What a method gives back to be scored, and the two scores: one function for ours and for the peers."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from app.contracts.rows import Row
from workers.training.metrics import confusion_matrix, per_class_f1


@dataclass(frozen=True)
class Outcome:
    """`answers`: one label a test row, in their order. `train_seconds`: from rows to model; None for a variant that nobody trains alone."""

    answers: list[str]
    parameters: int
    bytes: int
    train_seconds: float | None
    texts_per_second: float
    notes: dict[str, Any] = field(default_factory=dict)


def scores(answers: list[str], test: list[Row]) -> tuple[float, float]:
    """Accuracy, and macro F1 over the classes that the test rows have. Raises `ValueError` if an answer is missing."""
    if len(answers) != len(test):
        raise ValueError(f"{len(answers)} answers to {len(test)} test rows.")
    labels = sorted({row.label for row in test} | set(answers))
    index = {label: position for position, label in enumerate(labels)}
    truth = np.array([index[row.label] for row in test])
    given = np.array([index[answer] for answer in answers])
    present = np.bincount(truth, minlength=len(labels)) > 0
    f1 = per_class_f1(confusion_matrix(truth, given, len(labels)))[present]
    return float((truth == given).mean()), float(f1.mean())
