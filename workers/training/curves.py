"""Points of a curve that a stage draws as it goes: `metric` events, a few dozen a series however long it trains."""

import math
from dataclasses import dataclass
from typing import Any

from workers.training.recorder import Recorder, State

POINTS = 50
"""Of one series, at most."""


def is_point(step: int, steps: int) -> bool:
    """Whether `step`, counted from 1, is one of the points over `steps`; the last one is."""
    return step * POINTS // steps > (step - 1) * POINTS // steps


@dataclass
class MeanLoss:
    """The mean between two points: the loss of a single batch says little."""

    steps: int
    _total: float = 0.0
    _weight: float = 0.0

    def add(self, step: int, loss: float, weight: float) -> float | None:
        """`weight`: rows or tokens of the batch. The mean since the last point if `step` is one, and it is a number."""
        self._total, self._weight = self._total + loss * weight, self._weight + weight
        if not is_point(step, self.steps):
            return None
        mean = self._total / self._weight
        self._total, self._weight = 0.0, 0.0
        return mean if math.isfinite(mean) else None

    def state(self) -> State:
        return {"total": self._total, "weight": self._weight}

    def restore(self, state: State) -> None:
        self._total, self._weight = state["total"], state["weight"]


def tell_point(recorder: Recorder, series: str, step: float, of: float, value: float, **more: Any) -> None:
    """`step`: epochs done, of so many. `value` must be finite: no database takes another. Of two points at one step the later one holds."""
    message = f"{series.replace('_', ' ')} {value:.4g} after {step:g} of {of:g} epochs"
    recorder.event("metric", message, series=series, step=step, of=of, value=value, **more)
