"""The report: teacher, student and baselines side by side on the same holdout rows."""

from pydantic import BaseModel, Field


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
    generation_gain: Interval = Field(description="Accuracy of the student less that of `no_generation`, paired bootstrap.")
    verdict: str = Field(description="One line: whether generation helped, and by how much.")
    curve: list[CurvePoint] = Field([], description="From no generated texts to all of them; empty unless `label.curve` asks for it.")
    warnings: list[str] = []
