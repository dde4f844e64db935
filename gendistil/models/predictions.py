"""Predictions of texts, at once or by a worker."""

from datetime import datetime

from gendistil.models.base import TERMINAL, Answer, Fault, Progress


class Score(Answer):
    label: str
    score: float


class Prediction(Answer):
    """`scores` holds the `top_k` best labels, best first; `label` and `score` are the first of them.

    `abstained`: below the threshold that was asked for. `out_of_scope`: 0 to 1, only if asked for. `answered_by`: student or teacher.
    """

    label: str
    score: float
    scores: list[Score] = []
    abstained: bool = False
    out_of_scope: float | None = None
    answered_by: str = "student"


class Predictions(Answer):
    """In the order of the inputs. `threshold`: of abstaining; None if none was asked for."""

    student: str
    version: int
    threshold: float | None = None
    predictions: list[Prediction]


class BulkPrediction(Answer):
    """A file that a worker predicts. `progress` counts rows; `columns` are those of the result."""

    id: str
    student: str
    version: int
    status: str
    progress: Progress = Progress()
    eta_seconds: float | None = None
    threshold: float | None = None
    columns: list[str] = []
    error: Fault | None = None
    created_at: datetime | None = None
    finished_at: datetime | None = None

    @property
    def ended(self) -> bool:
        return self.status in TERMINAL
