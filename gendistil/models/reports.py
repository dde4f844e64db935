"""The report of a finished job."""

from gendistil.models.base import Answer, Interval


class ReportEntry(Answer):
    """One classifier's score on the holdout; `bytes` on disk, `latency_ms` the median for one text."""

    name: str
    description: str = ""
    accuracy: Interval
    macro_f1: Interval
    per_class_f1: dict[str, float] = {}
    confusion_matrix: list[list[int]] = []
    agreement: float | None = None
    parameters: int | None = None
    bytes: int | None = None
    latency_ms: float | None = None


class Memorisation(Answer):
    """How near the generated texts came to the rows; a run: consecutive words in common with one row."""

    generated: int
    exact_copies: int
    near_copies: int
    shared_runs: int
    max_shared_words: int | None = None
    kept: int
    kept_with_run: int
    run_words: int
    longest_kept_run: int


class CurvePoint(Answer):
    """What the student scores on the first so many generated texts."""

    texts: int
    accuracy: Interval
    macro_f1: Interval


class Report(Answer):
    """`refit`: the published student went on with the held-out rows after it was measured."""

    labels: list[str]
    holdout_rows: int
    holdout_source: str = ""
    refit: bool = False
    entries: list[ReportEntry]
    generated: dict[str, int] = {}
    memorisation: Memorisation | None = None
    generation_gain: Interval | None = None
    verdict: str = ""
    curve: list[CurvePoint] = []
    warnings: list[str] = []
