"""Calibration error, Brier score and the risk-coverage curve, against figures reckoned by hand."""

import numpy as np
import pytest
import torch

from app.predictions.scope import out_of_scope
from workers.training.calibration import Floats, softmax
from workers.training.metrics import Indices
from workers.training.score_quality import (
    brier_score,
    candidate_scores,
    error_by_chance,
    expected_calibration_error,
    reliability_bins,
    risk_coverage,
)
from workers.training.score_report import scope_quantiles

TRUTH = np.zeros(4, np.int64)
PROBABILITIES = np.array([[0.9, 0.1], [0.2, 0.8], [0.7, 0.3], [0.6, 0.4]])


def sampled(rows: int, seed: int = 0) -> tuple[Floats, Indices]:
    """Scores that are each exactly the chance of being right."""
    rng = np.random.default_rng(seed)
    scores = rng.uniform(0.5, 1, rows)
    return np.stack([scores, 1 - scores], 1), (rng.random(rows) >= scores).astype(np.int64)


def test_the_brier_score_sums_over_the_labels() -> None:
    assert brier_score(PROBABILITIES, TRUTH) == pytest.approx((2 * 0.01 + 2 * 0.64 + 2 * 0.09 + 2 * 0.16) / 4)


def test_the_calibration_error_of_two_bins() -> None:
    """By rising score: ten rows at 0.6 of which five are right, ten at 0.9 that all are."""
    probabilities = np.array([[0.9, 0.1]] * 10 + [[0.6, 0.4]] * 10)
    truth = np.array([0] * 15 + [1] * 5)
    bins = reliability_bins(probabilities, truth)
    assert [(found.rows, found.accuracy) for found in bins] == [(10, 0.5), (10, 1.0)]
    assert [found.score for found in bins] == pytest.approx([0.6, 0.9])
    assert expected_calibration_error(probabilities, truth) == pytest.approx(0.1)


@pytest.mark.parametrize(("rows", "bins"), [(3, 1), (19, 1), (80, 8), (150, 15), (4000, 15)])
def test_a_bin_has_ten_rows_where_there_are_so_many(rows: int, bins: int) -> None:
    found = reliability_bins(*sampled(rows))
    assert len(found) == bins
    assert sum(part.rows for part in found) == rows


def test_chance_explains_the_error_of_honest_scores_and_not_of_others() -> None:
    for rows in (60, 3000):
        errors = [expected_calibration_error(*sampled(rows, seed)) for seed in range(50)]
        assert error_by_chance(sampled(rows)[0]) == pytest.approx(np.mean(errors), rel=0.15)
    probabilities, truth = sampled(3000)
    boasting = np.stack([0.5 + probabilities[:, 0] / 2, probabilities[:, 1] / 2], 1)
    assert expected_calibration_error(boasting, truth) > 5 * error_by_chance(boasting)


def test_the_risk_coverage_curve() -> None:
    """By falling score: right, wrong, right, right."""
    area, points = risk_coverage(PROBABILITIES, TRUTH)
    assert area == pytest.approx((0 + 1 / 2 + 1 / 3 + 1 / 4) / 4)
    assert [(point.coverage, point.score) for point in points] == [(0.25, 0.9), (0.5, 0.8), (0.75, 0.7), (1.0, 0.6)]
    assert [point.risk for point in points] == pytest.approx([0, 1 / 2, 1 / 3, 1 / 4])


def test_before_and_after_are_told_apart() -> None:
    probabilities, truth = sampled(2000)
    boasting = np.stack([0.5 + probabilities[:, 0] / 2, probabilities[:, 1] / 2], 1)
    found = candidate_scores(1.8, boasting, probabilities, truth)
    assert found.temperature == 1.8
    assert found.before.ece > found.after.ece
    assert found.before.brier > found.after.brier
    assert found.after.ece == expected_calibration_error(probabilities, truth)
    assert found.reliability == reliability_bins(probabilities, truth)


def test_the_usual_scope_scores_are_those_that_serving_gives() -> None:
    logits = np.random.default_rng(0).normal(0, 4, (200, 5))
    served = out_of_scope(softmax(logits, 1.7), 1.7)
    expected = {str(share): np.quantile(served, share) for share in (0.5, 0.9, 0.95, 0.99)}
    assert scope_quantiles(torch.from_numpy(logits)) == pytest.approx(expected)
