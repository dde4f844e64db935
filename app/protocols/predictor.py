"""The one way from a foreign protocol to the predictor: what `/predict` does, under the same limits."""

import sys
from dataclasses import dataclass
from typing import Annotated

from fastapi import Path, Request
from fastapi.concurrency import run_in_threadpool
from sqlalchemy import select

from app.config import get_settings
from app.database import read_session_factory
from app.predictions.body import read_limited
from app.predictions.predictor import Predictor
from app.predictions.runtime import BrokenStudent
from app.predictions.schemas import AnswerOptions, Prediction
from app.predictions.service import checked_texts
from app.students.schemas import REFERENCE_PATTERN
from app.students.service import broken_student, find_student
from app.tables import Student

ALL = sys.maxsize
"""As `top_k`: every label there is."""
Reference = Annotated[str, Path(description="`name`, `name@alias` or `name:version`.", json_schema_extra={"pattern": REFERENCE_PATTERN})]


@dataclass(frozen=True, slots=True)
class Published:
    """The version that a reference means now. `labels`: in the order of the logits; `versions`: all there are of this name."""

    name: str
    version: int
    labels: list[str]
    versions: list[int]
    artefact_key: str


@dataclass(frozen=True, slots=True)
class Classified:
    """Predictions in the order of the texts, and the version that gave them, with its labels in the order of the logits."""

    name: str
    version: int
    labels: list[str]
    predictions: list[Prediction]


async def read(request: Request) -> bytes:
    """The body. Raises `ServiceError`: 408 too slow, 413 too large, 429 too much to do."""
    predictor: Predictor = request.app.state.predictor
    predictor.admission.check()
    return await read_limited(request, get_settings(), predictor.admission)


async def classify(request: Request, reference: str, inputs: str | list[str], top_k: int) -> Classified:
    """Raises `ServiceError` as `/predict` does."""
    predictor: Predictor = request.app.state.predictor
    texts = checked_texts(inputs, get_settings().limits)
    answer = await predictor.answer(reference, texts, AnswerOptions(top_k))
    served = answer.served
    # It has just answered, so this loads nothing.
    student = await run_in_threadpool(predictor.students.get, served.key)
    return Classified(served.name, served.version, student.manifest.labels, answer.predictions)


async def resolve(reference: str) -> Published:
    """Raises `ServiceError`: 422 malformed, 404 unknown."""
    return await run_in_threadpool(_resolve, reference)


async def load(request: Request, student: Published) -> None:
    """Makes it ready to answer. Raises `ServiceError` 503 for one that cannot be served."""
    predictor: Predictor = request.app.state.predictor
    try:
        await run_in_threadpool(predictor.students.get, student.artefact_key)
    except BrokenStudent as error:
        raise broken_student(student.name, student.version, student.artefact_key, error) from error


def _resolve(reference: str) -> Published:
    with read_session_factory()() as session:
        row = find_student(session, reference)
        versions = session.scalars(select(Student.version).where(Student.name == row.name).order_by(Student.version)).all()
    return Published(row.name, row.version, row.manifest["labels"], list(versions), row.artefact_key)
