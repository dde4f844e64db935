"""What callers see of students."""

from datetime import datetime

from pydantic import BaseModel, ConfigDict, Field

from app.contracts.comparison import Comparison
from app.contracts.students import SelectivePoint
from app.jobs.aliases import Cause
from app.jobs.schemas import Reason

ALIAS_PATTERN = r"^[a-z][a-z0-9_.-]{0,62}$"


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
