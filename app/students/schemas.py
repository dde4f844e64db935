"""What callers see of students."""

from datetime import datetime

from pydantic import BaseModel, ConfigDict, Field

ALIAS_PATTERN = r"^[a-z][a-z0-9_.-]{0,62}$"


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
    job_id: str
    created_at: datetime


class StudentOut(BaseModel):
    """A name with its versions, newest first, and its aliases. A plain name is served as its `latest`."""

    name: str
    versions: list[StudentVersion]
    aliases: dict[str, int] = Field(description="Alias to version.")


class AliasTarget(BaseModel):
    model_config = ConfigDict(extra="forbid")

    version: int = Field(ge=1, le=2**31 - 1)


class AliasOut(BaseModel):
    name: str
    alias: str
    version: int
    updated_at: datetime
