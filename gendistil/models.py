"""What the service answers, typed. Frozen; fields that a newer service adds are kept, not refused."""

from datetime import datetime
from typing import Any

from pydantic import BaseModel, ConfigDict

TERMINAL = frozenset({"succeeded", "failed", "cancelled"})
"""Statuses in which a job, or a stage, stays."""


class Answer(BaseModel):
    model_config = ConfigDict(extra="allow", frozen=True, protected_namespaces=())


class Fault(Answer):
    """Why a job failed."""

    type: str = ""
    detail: str = ""
    remedy: str | None = None
    stage: str | None = None


class Dataset(Answer):
    id: str
    rows: int
    test_rows: int = 0
    labels: dict[str, int] = {}
    warnings: list[str] = []


class Progress(Answer):
    done: float = 0.0
    total: float = 0.0
    unit: str = ""


class StageView(Answer):
    name: str
    status: str
    progress: Progress = Progress()
    seconds: float | None = None
    attempt: int = 0
    reused: bool = False


class StudentVersion(Answer):
    name: str
    version: int


class Job(Answer):
    """`status`: queued, running, succeeded, failed or cancelled."""

    id: str
    name: str
    status: str
    stages: list[StageView] = []
    eta_seconds: float | None = None
    student: StudentVersion | None = None
    warnings: list[str] = []
    error: Fault | None = None
    created_at: datetime | None = None
    finished_at: datetime | None = None

    @property
    def ended(self) -> bool:
        return self.status in TERMINAL


class Score(Answer):
    label: str
    score: float


class Prediction(Answer):
    """`scores` holds the `top_k` best labels, best first; `label` and `score` are the first of them."""

    label: str
    score: float
    scores: list[Score] = []


class Predictions(Answer):
    """In the order of the inputs."""

    student: str
    version: int
    predictions: list[Prediction]


class BulkPrediction(Answer):
    """A file that a worker predicts. `progress` counts rows; `columns` are those of the result."""

    id: str
    student: str
    version: int
    status: str
    progress: Progress = Progress()
    eta_seconds: float | None = None
    columns: list[str] = []
    error: Fault | None = None
    created_at: datetime | None = None
    finished_at: datetime | None = None

    @property
    def ended(self) -> bool:
        return self.status in TERMINAL


class Interval(Answer):
    """A figure with its bootstrap 95 % interval."""

    value: float
    low: float
    high: float


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


class Report(Answer):
    """`refit`: the published student went on with the held-out rows after it was measured."""

    labels: list[str]
    holdout_rows: int
    holdout_source: str = ""
    refit: bool = False
    entries: list[ReportEntry]
    generated: dict[str, int] = {}
    generation_gain: Interval | None = None
    verdict: str = ""
    warnings: list[str] = []


class PublishedVersion(Answer):
    """One version of a student; `bytes`: ONNX and tokenizer file together."""

    name: str
    version: int
    kind: str = ""
    labels: list[str] = []
    metrics: dict[str, float] = {}
    parameters: int | None = None
    bytes: int | None = None
    job_id: str | None = None


class Student(Answer):
    """A name, its versions with the newest first, and the version that each alias stands for."""

    name: str
    versions: list[PublishedVersion] = []
    aliases: dict[str, int] = {}


class Alias(Answer):
    name: str
    alias: str
    version: int


class Preset(Answer):
    name: str
    summary: str = ""
    default: bool = False
    spec: dict[str, Any] = {}


class Catalogue(Answer):
    """What a job may ask for."""

    presets: list[Preset]


class StageEstimate(Answer):
    """What a stage would take. `reused`: its output is there already; None if only a worker can tell."""

    name: str
    seconds: float
    peak_bytes: int
    artefact_bytes: int
    reused: bool | None = None


class EstimateTotals(Answer):
    """`seconds`: one stage after the other. `peak_bytes`: of the largest."""

    seconds: float
    peak_bytes: int
    artefact_bytes: int


class JobEstimate(Answer):
    """`past_jobs`: those that scale the figures. `memory_bytes`, `free_bytes`: what the service has; None if unknown."""

    name: str
    stages: list[StageEstimate]
    totals: EstimateTotals
    past_jobs: int = 0
    memory_bytes: int | None = None
    free_bytes: int | None = None
    warnings: list[str] = []
    preset: str = ""
    spec: dict[str, Any] = {}


class Garbage(Answer):
    """Blobs of one kind that nothing uses; `names` holds the first."""

    count: int
    bytes: int
    names: list[str] = []


class Collection(Answer):
    """What a garbage collection removed, or with `dry_run` would remove."""

    dry_run: bool
    artefacts: Garbage
    datasets: Garbage
    checkpoints: Garbage
    bulk_predictions: Garbage = Garbage(count=0, bytes=0)
    temporary_files: Garbage
    idempotency_keys: int = 0
    failed: int = 0
    bytes: int = 0
