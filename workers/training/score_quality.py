"""How far scores can be trusted: calibration error, Brier score, and what answering only certain texts would cost and gain."""

import numpy as np
from numpy.typing import NDArray

from app.contracts.report import CandidateScores, ReliabilityBin, RiskPoint, ScoreQuality
from workers.training.calibration import Floats
from workers.training.metrics import Indices

BINS = 15
_LEAST_ROWS = 10
_POINTS = 20
_DRAWS = 100


def reliability_bins(probabilities: Floats, truth: Indices, bins: int = BINS) -> list[ReliabilityBin]:
    """Bins of equal mass by rising score: `bins`, or fewer, so that each has ten rows. `probabilities` (N, C), `truth` (N,)."""
    scores, hits = _answers(probabilities, truth)
    parts = np.array_split(np.argsort(scores, kind="stable"), _count(len(scores), bins))
    return [ReliabilityBin(rows=len(part), score=float(scores[part].mean()), accuracy=float(hits[part].mean())) for part in parts]


def expected_calibration_error(probabilities: Floats, truth: Indices, bins: int = BINS) -> float:
    """Mean |accuracy - score| over `reliability_bins`, by their rows (Naeini et al. 2015; bins of equal mass: Nguyen and O'Connor 2015)."""
    found = reliability_bins(probabilities, truth, bins)
    return sum(part.rows * abs(part.accuracy - part.score) for part in found) / len(truth)


def error_by_chance(probabilities: Floats, bins: int = BINS) -> float:
    """The expected calibration error that these scores would show if each were exactly the chance of being right, mean of 100 draws."""
    scores: Floats = np.sort(probabilities.max(1))
    draws = np.random.default_rng(0).random((_DRAWS, len(scores))) < scores
    parts = np.array_split(np.arange(len(scores)), _count(len(scores), bins))
    return float(sum(abs((draws[:, part] - scores[part]).sum(1)) for part in parts).mean() / len(scores))


def brier_score(probabilities: Floats, truth: Indices) -> float:
    """Mean squared distance to the true label's one-hot vector, summed over the classes (Brier 1950): 0 to 2."""
    right = np.zeros_like(probabilities)
    right[np.arange(len(truth)), truth] = 1
    return float(((probabilities - right) ** 2).sum(1).mean())


def risk_coverage(probabilities: Floats, truth: Indices) -> tuple[float, list[RiskPoint]]:
    """The area under the curve and some points of it: the error rate among the most certain rows (El-Yaniv and Wiener 2010).

    The area is the mean of that rate over 1 to N rows (Geifman and El-Yaniv 2017).
    """
    scores, hits = _answers(probabilities, truth)
    order = np.argsort(-scores, kind="stable")
    risk = np.cumsum(~hits[order]) / np.arange(1, len(order) + 1)
    ends = sorted({max(1, round(len(order) * point / _POINTS)) for point in range(1, _POINTS + 1)})
    points = [RiskPoint(coverage=end / len(order), risk=float(risk[end - 1]), score=float(scores[order[end - 1]])) for end in ends]
    return float(risk.mean()), points


def score_quality(probabilities: Floats, truth: Indices) -> ScoreQuality:
    return ScoreQuality(
        ece=expected_calibration_error(probabilities, truth),
        ece_by_chance=error_by_chance(probabilities),
        brier=brier_score(probabilities, truth),
    )


def candidate_scores(temperature: float, before: Floats, after: Floats, truth: Indices) -> CandidateScores:
    """`before` and `after` scaling, (N, C) each."""
    area, points = risk_coverage(after, truth)
    return CandidateScores(
        temperature=temperature,
        before=score_quality(before, truth),
        after=score_quality(after, truth),
        reliability=reliability_bins(after, truth),
        aurc=area,
        risk_coverage=points,
    )


def _count(rows: int, bins: int) -> int:
    return max(1, min(bins, rows // _LEAST_ROWS))


def _answers(probabilities: Floats, truth: Indices) -> tuple[Floats, NDArray[np.bool_]]:
    scores: Floats = probabilities.max(1)
    return scores, probabilities.argmax(1) == truth
