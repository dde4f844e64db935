"""POST /predict: what goes in and what comes out."""

from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

PREDICT_ERRORS = {
    "_404": "There is no such student, version or alias.",
    "_408": "The body did not arrive in time.",
    "_413": "The body is larger than the limit.",
    "_429": "More is being done than the limits allow; `Retry-After` says when to try again.",
    "_503": "This student's files are missing or damaged; others are served.",
}
"""For OpenAPI: the refusals that every protocol's predictions share."""


@dataclass(frozen=True, slots=True)
class AnswerOptions:
    """What a caller wants of an answer, whichever protocol asks.

    `counted`: its texts are live ones, which tell of drift and are shown to a shadow; halves of a text that someone types are not.
    """

    top_k: int = 1
    min_score: float | None = None
    min_precision: float | None = None
    out_of_scope: bool = False
    escalate: bool = False
    counted: bool = True


class PredictRequest(BaseModel):
    model_config = ConfigDict(extra="forbid")

    student: str = Field(min_length=1, max_length=200, description="`name`, `name@alias` or `name:version`.", examples=["triage"])
    inputs: str | list[str] = Field(description="One text or several.", examples=[["my card was stolen"]])
    top_k: int = Field(1, ge=1, description="Labels in `scores`; more than there are gives all.", examples=[3])
    min_score: float | None = Field(None, ge=0, le=1, allow_inf_nan=False, description="Abstain below this score.")
    min_precision: float | None = Field(
        None,
        ge=0,
        le=1,
        allow_inf_nan=False,
        description="Abstain below the score from which on so many answers are right: a share of those in the student's `selective` list, "
        "or the next higher one. Not together with `min_score`.",
        examples=[0.95],
    )

    out_of_scope: bool = Field(False, description="Tell of each text how far it is from all that the student knows.")
    escalate: bool = Field(False, description="Ask the teacher where the student abstains, if a worker holds it. Needs a threshold.")

    @property
    def options(self) -> AnswerOptions:
        return AnswerOptions(self.top_k, self.min_score, self.min_precision, self.out_of_scope, self.escalate)


@dataclass(slots=True)
class Score:
    label: str
    score: float


@dataclass(slots=True)
class Prediction:
    """`label` and `score` are the best; `scores` holds the `top_k` best, best first. All labels' scores sum to one.

    `abstained`: the score is below the threshold that was asked for; the label is then not to be trusted.
    `out_of_scope`: 0 for a text that one label alone fits, 1 where all fit alike; null unless it was asked for. The student's
    `scope_quantiles` say what is usual.
    `answered_by`: `teacher` where the student abstained and its teacher was asked; label and scores are then the teacher's.
    """

    label: str
    score: float
    scores: list[Score]
    abstained: bool = False
    out_of_scope: float | None = None
    answered_by: Literal["student", "teacher"] = "student"


@dataclass(slots=True, kw_only=True)
class PredictResponse:
    """`predictions` are in the order of the inputs."""

    student: str
    version: int
    threshold: Annotated[float | None, Field(description="Below this score it abstained; null if no threshold was asked for.")] = None
    predictions: list[Prediction]
