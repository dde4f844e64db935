"""What callers send and see of jobs."""

from datetime import datetime
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag

from app.contracts.comparison import Promote
from app.contracts.spec import MOST_REJECTED
from app.contracts.stages import JobStatus, StageStatus
from app.datasets.raw import PLAIN_TEXT
from app.paging import Page

NAME_PATTERN = r"^[a-z0-9][a-z0-9_.-]{0,62}$"


Reason = Annotated[
    str,
    Field(min_length=1, max_length=500, pattern=PLAIN_TEXT, description="For the alias's history.", examples=["checked by hand"]),
]


class InlineDataset(BaseModel):
    """Rows in the request itself."""

    model_config = ConfigDict(extra="forbid")

    rows: list[Any] = Field(description="Objects with a text and a label.", examples=[[{"text": "my card was stolen", "label": "lost"}]])
    test: list[Any] | None = Field(None, description="The caller's own holdout; without it, a part of the rows is held out.")
    text_column: str = "text"
    label_column: str = "label"


def _kind_of_dataset(value: Any) -> str | None:
    if isinstance(value, str):
        return "id"
    return "inline" if isinstance(value, dict | InlineDataset) else None


DatasetInput = Annotated[
    Annotated[str, Tag("id")] | Annotated[InlineDataset, Tag("inline")],
    Discriminator(
        _kind_of_dataset,
        custom_error_type="dataset_type",
        custom_error_message='Input should be a dataset id or an object with "rows"',
    ),
]


class PublishOptions(BaseModel):
    """What becomes of the student that a job publishes."""

    model_config = ConfigDict(extra="forbid")

    replace_dataset: bool = Field(False, description="Publish under a name whose students come from another dataset.")
    promote: Promote = Field(Promote.IF_NOT_WORSE, description="Whether the new version becomes `latest`; the first of a name always does.")
    promote_reason: Reason | None = Field(None, description="Why `promote` is not `if_not_worse`; for the alias's history.")


class JobOptions(PublishOptions):
    """A job but for its dataset."""

    name: str = Field(pattern=NAME_PATTERN, description="Of the student to publish.", examples=["triage"])
    preset: str | None = Field(None, description="See GET /presets. The service's default preset if absent.", examples=["fast"])
    spec: dict[str, Any] = Field({}, description="Overrides of any field of the preset's spec.", examples=[{"distil": {"student": "bag"}}])


class JobRequest(JobOptions):
    dataset: DatasetInput = Field(description="Rows, or the id of a dataset that was posted before.")


class Progress(BaseModel):
    done: float
    total: float = Field(description="0 while it is not known.")
    unit: str


class ErrorInfo(BaseModel):
    """Why a stage failed. On a job, `stage` names the stage."""

    type: str
    detail: str
    remedy: str | None = None
    stage: str | None = None


class ShardsOut(BaseModel):
    done: int
    total: int


class StageOut(BaseModel):
    name: str
    status: StageStatus
    progress: Progress
    shards: ShardsOut | None = Field(None, description="Of a stage that is cut into shards, which any worker may take.")
    seconds: float | None = Field(description="Since the last attempt began, until it ended; null before.")
    attempt: int
    reused: bool = Field(description="Its output was there already, from this job or another.")
    error: ErrorInfo | None = None


class StudentRef(BaseModel):
    name: str
    version: int


class JobOut(BaseModel):
    id: str
    name: str
    status: JobStatus
    stages: list[StageOut]
    eta_seconds: float | None = Field(
        description="Seconds of work left, waiting for a worker not counted; null while there is nothing to go by, or after a failure."
    )
    student: StudentRef | None
    error: ErrorInfo | None
    warnings: list[str]
    dataset_id: str
    preset: str
    spec: dict[str, Any] = Field(description="The complete spec: the preset with the overrides laid over it.")
    promote: Promote
    promote_reason: str | None
    created_at: datetime
    finished_at: datetime | None


class EventOut(BaseModel):
    id: int
    type: str
    stage: str | None
    message: str
    data: dict[str, Any]
    created_at: datetime


class SyntheticText(BaseModel):
    """A generated text. Its probabilities are the teacher's; `label` is only what the generator was asked for."""

    id: int = Field(description="Number of its line.")
    text: str
    label: str | None = None
    verdict: str = Field(description="`kept`, why the filters dropped it, or `rejected`: this job was told to do without it.")
    probabilities: dict[str, float] | None = None


class SyntheticPage(Page[SyntheticText]):
    total: int = Field(description="All that match, on this page and others.")


class DistilAgain(PublishOptions):
    """A job made again without some of its generated texts."""

    rejected: list[Annotated[int, Field(ge=1)]] = Field(
        min_length=1,
        max_length=MOST_REJECTED,
        description="Ids of texts that the filters kept; those that the job did without already are left out again.",
        examples=[[3, 14]],
    )


class StageEstimate(BaseModel):
    name: str
    seconds: float = Field(description="On one worker; 0 of a stage that is reused.")
    peak_bytes: int = Field(
        description="Largest memory of the worker; of a GPU, if it has one, about as much. 0 of a stage that is reused."
    )
    artefact_bytes: int = Field(description="That it adds to the blob store; 0 of a stage that is reused.")
    reused: bool | None = Field(
        description="Whether its output is there already. Null: that depends on the content of weights that only a worker can read."
    )


class EstimateTotals(BaseModel):
    seconds: float = Field(description="Of all stages one after the other; with two workers, teacher and generator go side by side.")
    peak_bytes: int = Field(description="Of the largest stage.")
    artefact_bytes: int


class JobEstimate(BaseModel):
    """What a job would take. Stages of which nothing is known count as not reused."""

    name: str
    stages: list[StageEstimate]
    totals: EstimateTotals
    past_jobs: int = Field(
        description="Earlier jobs on this service that the figures are scaled by; without one they are those of two CPU cores."
    )
    memory_bytes: int | None = Field(description="That a worker's machine is taken to have; null if that is not known.")
    free_bytes: int | None = Field(description="In the blob store; null if it cannot tell.")
    warnings: list[str]
    preset: str
    spec: dict[str, Any] = Field(description="The complete spec.")
