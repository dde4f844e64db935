"""The report: teacher, student and baselines side by side on the same holdout rows."""

from pydantic import BaseModel, Field

from app.contracts.memorisation import Memorisation
from app.contracts.students import SelectivePoint


class Interval(BaseModel):
    """A figure with its bootstrap 95 % interval (percentile method over the holdout rows)."""

    value: float
    low: float
    high: float


class ReportEntry(BaseModel):
    """One classifier's score."""

    name: str
    description: str
    accuracy: Interval
    macro_f1: Interval
    per_class_f1: dict[str, float]
    confusion_matrix: list[list[int]] = Field(description="Rows are the true labels, columns the predicted, in the order of `labels`.")
    agreement: float = Field(description="Share of the holdout on which it answers as the teacher does.")
    parameters: int
    bytes: int = Field(description="On disk.")
    latency_ms: float = Field(description="Median for one text, on the machine that published.")


class CurvePoint(BaseModel):
    """The score of the student that was distilled on so many generated texts, and on recombinations of no others."""

    texts: int
    accuracy: Interval
    macro_f1: Interval


class ReliabilityBin(BaseModel):
    """Rows of like scores: where scores are honest, `score` and `accuracy` agree."""

    rows: int
    score: float = Field(description="Mean of the best label's.")
    accuracy: float


class ScoreQuality(BaseModel):
    ece: float = Field(
        description="Expected calibration error over 15 bins of equal mass; fewer, where a bin would have less than 10 rows."
    )
    ece_by_chance: float = Field(description="What scores without any error would show on so many rows; on few rows that is a lot.")
    brier: float = Field(description="Summed over the labels: 0 to 2.")


class RiskPoint(BaseModel):
    """Of the most certain `coverage` of the rows, those down to `score`, `risk` are answered wrong."""

    coverage: float
    risk: float
    score: float


class CandidateScores(BaseModel):
    """One classifier's scores on the holdout. `after` and what follows: each row scaled by a temperature that other rows gave."""

    temperature: float = Field(description="Fitted on all of the holdout.")
    before: ScoreQuality
    after: ScoreQuality
    reliability: list[ReliabilityBin]
    aurc: float = Field(description="Area under the risk-coverage curve.")
    risk_coverage: list[RiskPoint]


class ScoreReport(BaseModel):
    """How honest the scores are, and what it takes to abstain."""

    teacher: CandidateScores
    student: CandidateScores
    published_temperature: float = Field(description="Of the student that ships; with `refit` it went on from the measured one.")
    selective: list[SelectivePoint] = Field(description="As in the student's manifest.")


class Report(BaseModel):
    labels: list[str]
    holdout_rows: int
    holdout_source: str = Field(description="`split`: a stratified part of the rows. `test`: the rows the caller brought.")
    refit: bool = Field(
        False,
        description="The published student went on with the holdout's rows after this was measured; `student` is the one before.",
    )
    entries: list[ReportEntry] = Field(description="teacher, student, seed_only, no_generation, tfidf.")
    generated: dict[str, int] = Field(description="Generated texts by verdict.")
    memorisation: Memorisation | None = Field(
        None, description="How near the generator came to the rows that it learned from. Null in reports of older versions."
    )
    generation_gain: Interval = Field(description="Accuracy of the student less that of `no_generation`, paired bootstrap.")
    verdict: str = Field(description="One line: whether generation helped, and by how much.")
    scores: ScoreReport | None = Field(None, description="Null in reports of older versions.")
    curve: list[CurvePoint] = Field([], description="From no generated texts to all of them; empty unless `label.curve` asks for it.")
    warnings: list[str] = []
