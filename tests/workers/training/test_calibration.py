"""Temperatures and thresholds, on rows drawn from a model whose true temperature is known."""

import numpy as np
import pytest

from workers.training.calibration import TARGETS, Floats, cross_fit, fit, matched_temperature, softmax
from workers.training.metrics import Indices


def drawn(rows: int, temperature: float, seed: int = 0, classes: int = 4) -> tuple[Floats, Indices]:
    """Logits, and labels drawn from softmax(logits / temperature)."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 1.5 * temperature, (rows, classes))
    logits[np.arange(rows), rng.integers(0, classes, rows)] += 5 * temperature
    truth = (softmax(logits, temperature).cumsum(1) > rng.random((rows, 1))).argmax(1)
    return logits, truth


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0, 4.0])
def test_the_true_temperature_is_found(temperature: float) -> None:
    assert fit(*drawn(20_000, temperature)).temperature == pytest.approx(temperature, rel=0.03)


def test_scores_are_probabilities_and_logits_may_be_large() -> None:
    found = softmax(np.array([[1e4, 0.0], [2.0, 2.0]]), 2.0)
    assert found.tolist() == [[1.0, 0.0], [0.5, 0.5]]


def test_a_few_rows_without_an_error_do_not_ask_for_certainty() -> None:
    """The likelihood alone would grow for ever as the temperature falls."""
    logits, truth = np.eye(3) * 2.0, np.arange(3)
    assert 0.5 < fit(logits, truth).temperature < 2


def test_the_cautious_temperature_is_above_and_comes_down_with_more_rows() -> None:
    few, many = fit(*drawn(40, 2.0)), fit(*drawn(20_000, 2.0))
    assert few.temperature < few.cautious
    assert few.cautious / few.temperature > 1.1 > 1.05 > many.cautious / many.temperature > 1


def test_the_cautious_temperature_holds_nine_times_in_ten() -> None:
    held = [fit(*drawn(80, 2.0, seed)).cautious >= 2.0 for seed in range(200)]
    assert 0.8 <= np.mean(held) <= 0.97


def test_a_row_is_scored_without_its_own_label() -> None:
    logits, truth = drawn(50, 2.0)
    changed = truth.copy()
    changed[7] = (truth[7] + 1) % 4
    before, after = cross_fit(logits, truth, 0), cross_fit(logits, changed, 0)
    assert before.probabilities[7].tolist() == after.probabilities[7].tolist()
    assert all(before.answered[target][7] == after.answered[target][7] for target in TARGETS)
    assert not np.array_equal(before.probabilities, after.probabilities)


def test_two_rows_can_be_cross_fitted() -> None:
    found = cross_fit(np.array([[2.0, 0.0], [0.0, 2.0]]), np.array([0, 1]), 0)
    assert found.probabilities.sum(1) == pytest.approx([1, 1])


@pytest.mark.parametrize("rows", [30, 80, 300])
def test_a_threshold_keeps_its_promise_on_other_rows(rows: int) -> None:
    logits, truth = drawn(5000, 2.0, seed=1000)
    hits = logits.argmax(1) == truth
    kept: dict[float, list[bool]] = {target: [] for target in TARGETS}
    for seed in range(60):
        fitted = fit(*drawn(rows, 2.0, seed))
        scores = softmax(logits, fitted.temperature).max(1)
        for target, threshold in fitted.thresholds.items():
            answered = scores >= threshold
            kept[target].append(bool(answered.any() and hits[answered].mean() >= target - 0.01))
    for target, ends in kept.items():
        assert len(ends) > 30, f"{target} was hardly ever within reach"
        assert np.mean(ends) >= 0.85, f"{target} was missed too often"


def test_a_higher_precision_never_has_a_lower_threshold() -> None:
    for seed in range(30):
        found = fit(*drawn(60, 2.0, seed)).thresholds
        assert list(found) == sorted(found)
        assert list(found.values()) == sorted(found.values())


def test_everything_is_answered_where_all_is_precise_enough() -> None:
    logits, truth = drawn(500, 0.3)
    thresholds = fit(logits, truth).thresholds
    assert (logits.argmax(1) == truth).mean() > 0.85
    assert thresholds[0.80] == 0.0


def test_a_precision_out_of_reach_is_not_listed() -> None:
    rng = np.random.default_rng(0)
    assert fit(rng.normal(0, 1, (200, 4)), rng.integers(0, 4, 200)).thresholds == {}


def test_rows_that_contradict_the_scores_prevail_where_they_are_many() -> None:
    """Half of the rows are right nine times in ten and half as good as never, at the same scores: no temperature tells them apart."""
    rng = np.random.default_rng(0)
    logits, truth = np.zeros((4000, 2)), np.zeros(4000, np.int64)
    logits[:, 0] = rng.uniform(1, 6, 4000)
    sure = logits[:, 0] > 5
    truth[sure & (rng.random(4000) < 0.3)] = 1  # the very rows that look surest
    assert 0.99 not in fit(logits, truth).thresholds
    assert 0.80 in fit(logits, truth).thresholds


def test_a_sharper_model_gets_a_higher_temperature() -> None:
    logits, _ = drawn(300, 2.0)
    assert matched_temperature(logits, 1.7, 3 * logits) == pytest.approx(5.1, rel=1e-3)
    assert matched_temperature(logits, 1.7, logits) == pytest.approx(1.7, rel=1e-3)
