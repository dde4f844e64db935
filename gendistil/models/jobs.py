"""Datasets, jobs, what jobs tell on the way, and what they would take."""

from datetime import datetime
from typing import Any

from gendistil.models.base import TERMINAL, Answer, Fault, Progress


class Dataset(Answer):
    id: str
    rows: int
    test_rows: int = 0
    labels: dict[str, int] = {}
    warnings: list[str] = []
    content_hash: str = ""
    created_at: datetime | None = None
    rows_removed_at: datetime | None = None


class JobFault(Fault):
    """Of a job, `stage` names the stage."""

    stage: str | None = None


class StageView(Answer):
    name: str
    status: str
    progress: Progress = Progress()
    seconds: float | None = None
    attempt: int = 0
    reused: bool = False
    error: JobFault | None = None


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
    error: JobFault | None = None
    dataset_id: str = ""
    preset: str = ""
    spec: dict[str, Any] = {}
    created_at: datetime | None = None
    finished_at: datetime | None = None

    @property
    def ended(self) -> bool:
        return self.status in TERMINAL


class Event(Answer):
    """Something that happened to a job; `data` depends on the type."""

    id: int
    type: str
    stage: str | None = None
    message: str = ""
    data: dict[str, Any] = {}
    created_at: datetime | None = None


class SyntheticText(Answer):
    """A generated text. `label` is what the generator was asked for, `probabilities` are the teacher's, `verdict` the filters'."""

    id: int
    text: str
    label: str | None = None
    verdict: str
    probabilities: dict[str, float] | None = None


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
