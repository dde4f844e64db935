"""From a checked request to predictions."""

import logging

import numpy as np

from app.config import Limits
from app.database import read_session_factory
from app.datasets.raw import SURROGATES, limit_text
from app.errors import FieldError, ServiceError
from app.predictions.cache import StudentCache
from app.predictions.runtime import BrokenStudent
from app.predictions.schemas import Prediction, PredictRequest, PredictResponse, Score
from app.students.service import find_student

logger = logging.getLogger(__name__)
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


def predict(request: PredictRequest, limits: Limits, cache: StudentCache) -> PredictResponse:
    """Raises `ServiceError`: 404 unknown student, 422 inputs out of limits, 503 a student that cannot be served."""
    texts = checked_texts(request.inputs, limits)
    with read_session_factory()() as session:  # given back before the work begins
        row = find_student(session, request.student)
    try:
        student = cache.get(row.artefact_key)
        probabilities = student.probabilities(texts)
    except BrokenStudent as error:
        logger.exception("student %s:%s (artefact %s) cannot be served", row.name, row.version, row.artefact_key)
        detail = f"The student {row.name}:{row.version} cannot be served: {error}"
        remedy = "Restore the blob store, use another version, or run its job's dataset again."
        raise ServiceError(503, "student-broken", detail, remedy=remedy) from error
    labels = student.manifest.labels
    best = np.argsort(-probabilities, axis=1, kind="stable")[:, : request.top_k]
    scored = [[Score(label=labels[index], score=float(row[index])) for index in top] for row, top in zip(probabilities, best, strict=True)]
    predictions = [Prediction(label=scores[0].label, score=scores[0].score, scores=scores) for scores in scored]
    return PredictResponse(student=row.name, version=row.version, predictions=predictions)


def _refusal(type: str, errors: list[FieldError]) -> ServiceError:
    detail = f"{errors[0].column}: {errors[0].detail}"
    return ServiceError(422, type, detail, remedy=errors[0].remedy, errors=errors[:_LISTED], errors_total=len(errors))
