"""From a checked request to predictions."""

import numpy as np
from numpy.typing import NDArray

from app.config import Limits
from app.contracts.students import StudentManifest
from app.datasets.raw import SURROGATES, limit_text
from app.errors import FieldError, ServiceError
from app.predictions.runtime import StudentRuntime
from app.predictions.schemas import AnswerOptions, Prediction, Score
from app.predictions.scope import out_of_scope

_LISTED = 50


def checked_texts(inputs: str | list[str], limits: Limits) -> list[str]:
    """At least one text. Raises `ServiceError` 422 that names the limit, the setting and the inputs at fault."""
    texts = [inputs] if isinstance(inputs, str) else inputs
    if not texts:
        raise _refusal("empty-input", [FieldError(column="inputs", detail="the list is empty", remedy="Send at least one text.")])
    if len(texts) > limits.predict_max_inputs:
        detail = f"there are {len(texts):,} texts; {limit_text('predict_max_inputs', limits.predict_max_inputs)}"
        raise _refusal("batch-too-large", [FieldError(column="inputs", detail=detail, remedy="Send them in several calls.")])
    errors: list[FieldError] = []
    types: list[str] = []
    for number, text in enumerate(texts):
        column = "inputs" if isinstance(inputs, str) else f"inputs.{number}"
        if len(text) > limits.predict_max_chars:
            detail = f"the text has {len(text):,} characters; {limit_text('predict_max_chars', limits.predict_max_chars)}"
            errors.append(FieldError(column=column, detail=detail, remedy="Shorten the text."))
            types.append("text-too-long")
        elif not text.strip():
            errors.append(FieldError(column=column, detail="the text is empty", remedy="Send a text, or leave it out."))
            types.append("empty-input")
        elif SURROGATES.search(text):
            remedy = "Encode it as UTF-8, or as two \\u escapes."
            errors.append(FieldError(column=column, detail="the text holds half a surrogate pair", remedy=remedy))
            types.append("invalid-request")
    if errors:
        raise _refusal(types[0], errors)
    return texts


def score_threshold(manifest: StudentManifest, options: AnswerOptions) -> float | None:
    """The least score to answer with, or None if nothing of the kind is asked for.

    Raises `ServiceError` 422 if both kinds are asked for, or if the student has no threshold for that precision.
    """
    if options.min_precision is None:
        return options.min_score
    if options.min_score is not None:
        detail = "it is sent together with min_score"
        raise _refusal("invalid-request", [FieldError(column="min_precision", detail=detail, remedy="Send one of the two.")])
    for point in manifest.selective:
        if point.precision >= options.min_precision:
            return point.threshold
    known = ", ".join(f"{point.precision:g}" for point in manifest.selective)
    if known:
        detail, remedy = f"this student has thresholds for the precisions {known}", "Send one of them or less, or min_score."
    else:
        detail, remedy = (
            "this student has no thresholds for precisions",
            "Send min_score, or run its job's dataset again for a new version.",
        )
    raise _refusal("no-threshold", [FieldError(column="min_precision", detail=detail, remedy=remedy)])


def answer(student: StudentRuntime, texts: list[str], options: AnswerOptions) -> list[Prediction]:
    """In the order of the texts. Raises `BrokenStudent`, and `ServiceError` as `score_threshold` does."""
    threshold = score_threshold(student.manifest, options)
    probabilities = student.probabilities(texts)
    return ranked(probabilities, student.manifest.labels, options.top_k, threshold, scope_scores(student.manifest, probabilities, options))


def scope_scores(manifest: StudentManifest, probabilities: NDArray[np.float64], options: AnswerOptions) -> list[float] | None:
    """(N,), or None if they are not asked for."""
    return out_of_scope(probabilities, manifest.temperature).tolist() if options.out_of_scope else None


def ranked(
    probabilities: NDArray[np.float64], labels: list[str], top_k: int, threshold: float | None, scope: list[float] | None = None
) -> list[Prediction]:
    """From (N, C) to N predictions; equal scores are in the order of the labels. `scope`: their `out_of_scope`."""
    least = 0.0 if threshold is None else threshold
    strange = [None] * len(probabilities) if scope is None else scope
    if top_k == 1 and len(probabilities) == 1:  # what nearly everyone asks for; each of numpy's calls takes as long as all of this
        values = probabilities[0].tolist()
        score = max(values)
        label = labels[values.index(score)]
        return [Prediction(label, score, [Score(label, score)], score < least, strange[0])]
    if top_k == 1:  # sorting takes longer than a small student's network
        tops = zip(probabilities.argmax(axis=1).tolist(), probabilities.max(axis=1).tolist(), strange, strict=True)
        return [Prediction(labels[place], score, [Score(labels[place], score)], score < least, far) for place, score, far in tops]
    best = np.argsort(-probabilities, axis=1, kind="stable")[:, :top_k]
    found = np.take_along_axis(probabilities, best, axis=1)
    predictions = []
    for places, values, far in zip(best.tolist(), found.tolist(), strange, strict=True):
        scores = [Score(labels[place], value) for place, value in zip(places, values, strict=True)]
        predictions.append(Prediction(labels[places[0]], values[0], scores, values[0] < least, far))
    return predictions


def _refusal(type: str, errors: list[FieldError]) -> ServiceError:
    detail = f"{errors[0].column}: {errors[0].detail}"
    return ServiceError(422, type, detail, remedy=errors[0].remedy, errors=errors[:_LISTED], errors_total=len(errors))
