"""Points of curves: few, even, and only numbers."""

import math

import pytest

from tests.workers.conftest import MemoryRecorder
from workers.training.curves import POINTS, MeanLoss, is_point, tell_point


@pytest.mark.parametrize("steps", [1, 7, POINTS, POINTS + 1, 1234, 1_000_000])
def test_there_are_never_more_points_than_asked_and_the_last_step_is_one(steps: int) -> None:
    points = [step for step in range(1, steps + 1) if is_point(step, steps)]
    assert len(points) == min(steps, POINTS)
    assert points[-1] == steps
    gaps = [after - before for before, after in zip([0, *points], points, strict=False)]
    assert max(gaps) - min(gaps) <= 1


def test_a_point_is_the_mean_since_the_last_one() -> None:
    curve = MeanLoss(2 * POINTS)
    assert curve.add(1, 1.0, 30) is None
    assert curve.add(2, 5.0, 10) == 2.0
    assert curve.add(3, 7.0, 10) is None
    assert curve.add(4, 7.0, 10) == 7.0


def test_a_curve_goes_on_where_its_state_was_taken() -> None:
    curve, other = MeanLoss(2 * POINTS), MeanLoss(2 * POINTS)
    curve.add(1, 1.0, 30)
    other.restore(curve.state())
    assert other.add(2, 5.0, 10) == curve.add(2, 5.0, 10) == 2.0


@pytest.mark.parametrize("loss", [math.nan, math.inf])
def test_what_no_database_takes_is_no_point(loss: float) -> None:
    curve = MeanLoss(2)
    assert curve.add(1, loss, 1) is None
    assert curve.add(2, 3.0, 1) == 3.0


def test_a_point_says_what_it_is() -> None:
    recorder = MemoryRecorder()
    tell_point(recorder, "measured_loss", 1.5, 5, 0.25, lineage="measured")
    assert recorder.events == [("metric", {"series": "measured_loss", "step": 1.5, "of": 5, "value": 0.25, "lineage": "measured"})]
