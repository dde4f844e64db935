"""Scores that mean what they say: temperature scaling (Guo et al. 2017) and thresholds for a precision, fitted on few rows."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from workers.training.metrics import Indices

Floats = NDArray[np.float64]

TARGETS = (0.80, 0.85, 0.90, 0.95, 0.98, 0.99)
FOLDS = 10
_PRIOR_TEMPERATURE, _PRIOR_SPREAD = 1.5, 0.4
_LEAST, _MOST = 0.05, 20.0
_ONE_SIDED_90 = 1.2816
_GOLDEN = (5**0.5 - 1) / 2


@dataclass(frozen=True)
class Fit:
    """`cautious`: nine times in ten the true temperature is not above it. `thresholds`: by target, of those within reach."""

    temperature: float
    cautious: float
    thresholds: dict[float, float]


@dataclass(frozen=True)
class CrossFit:
    """Each row by a fit on the others: its `probabilities` (N, C), and by target which rows (N,) were `answered`.

    A target that was out of reach in a fold answers none of its rows.
    """

    probabilities: Floats
    answered: dict[float, NDArray[np.bool_]]


def softmax(logits: Floats, temperature: float) -> Floats:
    """(N, C)."""
    exponentials = np.exp((logits - logits.max(1, keepdims=True)) / temperature)
    probabilities: Floats = exponentials / exponentials.sum(1, keepdims=True)
    return probabilities


def fit(logits: Floats, truth: Indices) -> Fit:
    """From rows that the model has not learned from: `logits` (N, C), `truth` (N,).

    The temperature has the least negative log likelihood, with a log-normal prior on it: some dozen rows alone leave it open by a
    sixth and more, and a model without an error among them would ask for 0.
    """

    def loss(log_temperature: float) -> float:
        scaled = logits / np.exp(log_temperature)
        top = scaled.max(1)
        log_sum = top + np.log(np.exp(scaled - top[:, None]).sum(1))
        prior = (log_temperature - np.log(_PRIOR_TEMPERATURE)) ** 2 / (2 * _PRIOR_SPREAD**2)
        return float((log_sum - scaled[np.arange(len(truth)), truth]).sum() + prior)

    low, high = float(np.log(_LEAST)), float(np.log(_MOST))
    left, right = high - _GOLDEN * (high - low), low + _GOLDEN * (high - low)
    at_left, at_right = loss(left), loss(right)
    while high - low > 1e-3:  # golden section
        if at_left < at_right:
            high, right, at_right = right, left, at_left
            left = high - _GOLDEN * (high - low)
            at_left = loss(left)
        else:
            low, left, at_left = left, right, at_right
            right = low + _GOLDEN * (high - low)
            at_right = loss(right)
    best, step = (low + high) / 2, 0.1
    curvature = (loss(best + step) - 2 * loss(best) + loss(best - step)) / step**2
    # Laplace's approximation. The prior alone is as narrow as this; a flatter curve is one of rounding.
    spread = min(_PRIOR_SPREAD, max(curvature, 1e-12) ** -0.5)
    temperature, cautious = float(np.exp(best)), float(np.exp(best + _ONE_SIDED_90 * spread))
    return Fit(temperature, cautious, _thresholds(logits, truth, temperature, cautious))


def cross_fit(logits: Floats, truth: Indices, seed: int) -> CrossFit:
    """In ten folds, or as many as there are rows; it takes two rows at least."""
    fold = np.random.default_rng(seed).permutation(len(truth)) % min(FOLDS, len(truth))
    probabilities = np.empty_like(logits)
    answered = {target: np.zeros(len(truth), bool) for target in TARGETS}
    for number in range(fold.max() + 1):
        held = fold == number
        fitted = fit(logits[~held], truth[~held])
        probabilities[held] = softmax(logits[held], fitted.temperature)
        for target, threshold in fitted.thresholds.items():
            answered[target][held] = probabilities[held].max(1) >= threshold
    return CrossFit(probabilities, answered)


def matched_temperature(logits: Floats, temperature: float, other: Floats) -> float:
    """For `other`, a model that went on from the one of `logits`: as certain as that on the same texts, (N, C) each, on the average."""
    wanted = softmax(logits, temperature).max(1).mean()
    low, high = np.log(_LEAST), np.log(_MOST)
    while high - low > 1e-4:  # a higher temperature is less certain
        middle = (low + high) / 2
        if softmax(other, float(np.exp(middle))).max(1).mean() > wanted:
            low = middle
        else:
            high = middle
    return float(np.exp((low + high) / 2))


def _thresholds(logits: Floats, truth: Indices, temperature: float, cautious: float) -> dict[float, float]:
    """The lowest score from which on the mean cautious score reaches the target, unless the rows' own precision contradicts it.

    A bound on the precision that is counted would need 59 rows without an error for 0.95, which a small holdout never has; the mean of
    calibrated scores needs no more than the temperature, and what is not known of that is in `cautious`. Counted precision takes over as
    rows grow many.
    """
    scores = softmax(logits, temperature).max(1)
    order = np.argsort(-scores, kind="stable")
    rows = np.arange(1, len(order) + 1)
    expected = np.cumsum(softmax(logits, cautious).max(1)[order]) / rows
    counted = np.cumsum((logits.argmax(1) == truth)[order]) / rows
    found: dict[float, float] = {}
    for target in TARGETS:
        slack = _ONE_SIDED_90 * np.sqrt(target * (1 - target) / rows)
        reached = np.flatnonzero((expected >= target) & (counted >= target - slack))
        if len(reached):
            last = reached[-1]
            lowest = 0.0 if last == len(order) - 1 else float(scores[order[last]])
            found[target] = max(lowest, *found.values(), 0.0)
    return found
