"""From logits on the holdout to what the student's scores are worth, and to the thresholds that ship."""

import numpy as np
from torch import Tensor

from app.contracts.report import CandidateScores, ScoreReport
from app.contracts.students import SelectivePoint
from workers.training.calibration import CrossFit, Fit, Floats, cross_fit, fit, matched_temperature, softmax
from workers.training.metrics import Indices
from workers.training.score_quality import candidate_scores

_SCOPE_TEMPERATURE = 4.0
_SCOPE_SHARES = (0.5, 0.9, 0.95, 0.99)


def score_report(student: Tensor, teacher: Tensor, truth: Indices, seed: int) -> ScoreReport:
    """`student` and `teacher`: logits (N, C) on the holdout, which neither has learned from."""
    logits = _floats(student)
    fitted, crossed = fit(logits, truth), cross_fit(logits, truth, seed)
    teachers = _floats(teacher)
    return ScoreReport(
        teacher=_scores(teachers, fit(teachers, truth), cross_fit(teachers, truth, seed), truth),
        student=_scores(logits, fitted, crossed, truth),
        published_temperature=fitted.temperature,
        selective=_selective(fitted, crossed, logits.argmax(1) == truth),
    )


def published_temperature(measured: Tensor, temperature: float, published: Tensor) -> float:
    """For the student that went on with the holdout's rows: logits (N, C) of both on the same unlabelled texts."""
    return matched_temperature(_floats(measured), temperature, _floats(published))


def scope_quantiles(logits: Tensor) -> dict[str, float]:
    """Of the out-of-scope score on the holdout, whose logits (N, C) of the measured student are: the entropy at a high temperature.

    The serving side computes the same from probabilities.
    """
    raised = softmax(_floats(logits), _SCOPE_TEMPERATURE)
    entropy = -(raised * np.log(np.maximum(raised, np.finfo(np.float64).tiny))).sum(1) / np.log(max(2, raised.shape[1]))
    return {f"{share:g}": float(np.quantile(entropy, share)) for share in _SCOPE_SHARES}


def _scores(logits: Floats, fitted: Fit, crossed: CrossFit, truth: Indices) -> CandidateScores:
    return candidate_scores(fitted.temperature, softmax(logits, 1.0), crossed.probabilities, truth)


def _selective(fitted: Fit, crossed: CrossFit, hits: np.ndarray) -> list[SelectivePoint]:
    points = []
    for target, threshold in fitted.thresholds.items():
        answered = crossed.answered[target]
        precision = float(hits[answered].mean()) if answered.any() else None
        points.append(SelectivePoint(precision=target, threshold=threshold, coverage=float(answered.mean()), holdout_precision=precision))
    return points


def _floats(logits: Tensor) -> Floats:
    numbers: Floats = logits.double().numpy()
    return numbers
