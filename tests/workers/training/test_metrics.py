"""The scores against scikit-learn's, and the bootstrap against what is known about it."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import confusion_matrix as reference_matrix
from sklearn.metrics import f1_score

from workers.training.metrics import (
    accuracy_interval,
    bootstrap_rows,
    confusion_matrix,
    difference_interval,
    macro_f1_interval,
    per_class_f1,
)

PAIRS = st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=1, max_size=60)


@given(pairs=PAIRS)
def test_matrix_and_f1_are_those_of_scikit_learn(pairs: list[tuple[int, int]]) -> None:
    truth, answers = np.array(pairs).T
    matrix = confusion_matrix(truth, answers, 5)
    assert np.array_equal(matrix, reference_matrix(truth, answers, labels=range(5)))
    wanted = f1_score(truth, answers, labels=range(5), average=None, zero_division=0)
    assert per_class_f1(matrix) == pytest.approx(wanted)


@given(pairs=PAIRS)
def test_macro_f1_is_over_the_classes_of_the_holdout(pairs: list[tuple[int, int]]) -> None:
    truth, answers = np.array(pairs).T
    interval = macro_f1_interval(truth, answers, 5, bootstrap_rows(len(truth), 100, 0))
    wanted = f1_score(truth, answers, labels=np.unique(truth), average="macro", zero_division=0)
    assert interval.value == pytest.approx(wanted)
    assert 0 <= interval.low <= interval.high <= 1


def test_a_class_that_a_draw_has_not_takes_nothing_off() -> None:
    """Two rows a class: each class is missing from an eighth of the draws."""
    truth = np.repeat(np.arange(77), 2)
    draws = bootstrap_rows(len(truth), 300, 0)
    answers = np.where(np.arange(len(truth)) % 16 == 0, (truth + 1) % 77, truth)
    interval = macro_f1_interval(truth, answers, 77, draws)
    assert 0.9 < interval.value < 0.95
    assert interval.low < interval.value < interval.high
    right = macro_f1_interval(truth, truth, 77, draws)
    assert (right.low, right.value, right.high) == (1, 1, 1)


def test_the_interval_is_that_of_a_proportion() -> None:
    hits = np.arange(400) % 4 != 0
    interval = accuracy_interval(hits, bootstrap_rows(400, 2000, 0))
    error = 1.96 * np.sqrt(0.75 * 0.25 / 400)
    assert interval.value == 0.75
    assert interval.low == pytest.approx(0.75 - error, abs=0.01)
    assert interval.high == pytest.approx(0.75 + error, abs=0.01)


def test_draws_are_with_replacement_and_repeat_with_their_seed() -> None:
    draws = bootstrap_rows(50, 300, 7)
    assert draws.shape == (300, 50)
    assert set(np.unique(draws)) == set(range(50))
    assert any(len(np.unique(draw)) < 50 for draw in draws)
    assert np.array_equal(draws, bootstrap_rows(50, 300, 7))
    assert not np.array_equal(draws, bootstrap_rows(50, 300, 8))


def test_differences_are_paired() -> None:
    """Two classifiers that differ on a few rows alone: paired, the noise of all other rows cancels."""
    right = np.arange(200) % 2 == 0
    left = right.copy()
    left[1:21:2] = True
    draws = bootstrap_rows(200, 1000, 0)
    interval = difference_interval(left, right, draws)
    assert interval.value == pytest.approx(0.05)
    unpaired = accuracy_interval(left, draws)
    assert interval.high - interval.low < 0.6 * (unpaired.high - unpaired.low)
    assert interval.low > 0


def test_a_classifier_does_not_differ_from_itself() -> None:
    hits = np.arange(30) % 3 == 0
    interval = difference_interval(hits, hits, bootstrap_rows(30, 200, 0))
    assert (interval.low, interval.value, interval.high) == (0, 0, 0)
