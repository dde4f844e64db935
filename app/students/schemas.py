"""What callers see of students."""

from datetime import datetime
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from app.contracts.comparison import Comparison
from app.contracts.students import SelectivePoint
from app.jobs.aliases import Cause
from app.jobs.schemas import Reason

ALIAS_PATTERN = r"^[a-z][a-z0-9_.-]{0,62}$"
REFERENCE_PATTERN = r"^[a-z0-9][a-z0-9_.-]{0,62}(@[a-z][a-z0-9_.-]{0,62}|:[0-9]{1,9})?$"
"""`name`, `name@alias` or `name:version`; for the document, as what is none gets an error of its own."""


class PromotionOut(BaseModel):
    moved: bool
    reason: str
    comparison: Comparison | None = Field(None, description="With the version that `latest` meant then.")


class StudentVersion(BaseModel):
    """One published version."""

    name: str
    version: int
    kind: str
    labels: list[str]
    metrics: dict[str, float] = Field(description="On the holdout.")
    parameters: int
    bytes: int = Field(description="ONNX and tokenizer file together.")
    max_tokens: int
    parity: dict[str, float] = Field(description="Torch against ONNX.")
    precision: str = Field(description="Of the table: fp32, fp16 or int8.")
    selective: list[SelectivePoint] = Field(description="Thresholds for `min_precision`.")
    scope_quantiles: dict[str, float] = Field(description="What is usual of `out_of_scope`, by the share of the holdout that lies below.")
    job_id: str | None = Field(description="That published it; null for one that was imported.")
    promotion: PromotionOut | None = Field(description="Whether `latest` moved to it when it was published, and why.")
    created_at: datetime


class StudentOut(BaseModel):
    """A name with its versions, newest first, and its aliases. A plain name is served as its `latest`."""

    name: str
    versions: list[StudentVersion]
    aliases: dict[str, int] = Field(description="Alias to version.")


class AliasTarget(BaseModel):
    model_config = ConfigDict(extra="forbid")

    version: int = Field(ge=1, le=2**31 - 1)
    reason: Reason | None = None


class RollbackOptions(BaseModel):
    model_config = ConfigDict(extra="forbid")

    reason: Reason | None = None


class ShadowTarget(BaseModel):
    model_config = ConfigDict(extra="forbid")

    version: int = Field(ge=1, le=2**31 - 1)
    share: float = Field(0.1, gt=0, le=1, description="Of the texts that the name's other versions answer.")


class ShadowOut(BaseModel):
    """A version that is scored beside those that answer. Figures of all API processes, a second old at most."""

    name: str
    version: int
    share: float
    since: datetime = Field(description="When this version became the shadow; its figures begin there.")
    texts: int = Field(description="That it was scored on.")
    agreed: int = Field(description="Of those, answered with the same label.")
    agreement: float | None = Field(description="`agreed` by `texts`; null before the first.")
    milliseconds: float | None = Field(description="A text, by the version that answered.")
    shadow_milliseconds: float | None = Field(description="A text, by the shadow.")
    dropped: int = Field(description="Texts it was not scored on, as too many waited.")
    failed: int = Field(description="Texts it could not be scored on.")


class AliasMoveOut(BaseModel):
    """One move of an alias."""

    id: int
    from_version: int | None = Field(description="Null where the alias was made.")
    to_version: int | None = Field(description="Null where the alias was deleted.")
    cause: Cause
    reason: str | None
    at: datetime


class AliasOut(BaseModel):
    name: str
    alias: str
    version: int
    updated_at: datetime


Reading = Literal["stable", "shifted", "drifted"]


class DistributionDrift(BaseModel):
    """Live texts beside the holdout's, by category. Shares of each sum to one."""

    reading: Reading = Field(
        description="`psi` less `psi_by_chance`: below 0.1 stable, to 0.25 shifted; stable too if `p_value` is above 0.01."
    )
    psi: float = Field(description="Population stability index.")
    psi_by_chance: float = Field(description="Its mean between two samples of these sizes that are alike.")
    p_value: float = Field(description="Share of such samples that are at least as far apart; 0.002 is the least.")
    total_variation: float = Field(description="0: the same shares, 1: no category in common.")
    live: dict[str, float]
    holdout: dict[str, float]


class UnknownDrift(BaseModel):
    """Pieces that are the tokenizer's unknown one, or have no row of their own in the student's table, as shares of all pieces."""

    reading: Reading = Field(description="At least twice the holdout's share, and 0.01 more: shifted; and 0.05 more: drifted.")
    live: float
    holdout: float
    ratio: float | None = Field(description="Live by holdout; null if the holdout has none.")


class DriftOut(BaseModel):
    """Live texts of all API processes, some 5 seconds old at most, beside the holdout. Counts, never a text, are kept for 90 days."""

    name: str
    version: int
    days: int
    since: datetime | None = Field(description="First answer that is counted; null if there is none.")
    texts: int
    holdout_rows: int | None = Field(description="Null for a version without a profile: an old one, or one imported from an old zip.")
    status: Literal["no_reference", "too_few", "stable", "shifted", "drifted"] = Field(description="The worst reading.")
    verdict: str
    labels: DistributionDrift | None = Field(description="By the label that was answered; null below 100 texts.")
    scores: DistributionDrift | None = Field(description="By that label's score, in tenths.")
    unknown_pieces: UnknownDrift | None
    pieces_per_text: float | None = Field(description="That the student read of a text, on the average.")
    holdout_pieces_per_text: float | None
