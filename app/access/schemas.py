"""`/keys` and `/audit`: what goes in and what comes out."""

from datetime import datetime
from typing import Annotated, Any

from pydantic import AliasChoices, AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field

from app.access.project_schemas import ProjectId
from app.principals import Scope

_PLAIN = r"^[^\x00-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]+$"
"""No control characters, and none that turn the direction of what follows: names stand in logs and on pages."""


def _written_out(value: object) -> object:
    if isinstance(value, int | float) or (isinstance(value, str) and "-" not in value):
        raise ValueError("write it as 2026-01-31T12:00:00Z")
    return value


Moment = Annotated[AwareDatetime, BeforeValidator(_written_out)]
"""RFC 3339 alone; pydantic would take seconds since 1970 too."""


Owner = Annotated[str, Field(validation_alias=AliasChoices("project", "project_id"))]
"""Of a row."""


class KeyIn(BaseModel):
    model_config = ConfigDict(extra="forbid")

    name: Annotated[
        str,
        Field(
            min_length=1,
            max_length=100,
            pattern=_PLAIN,
            description="Who or what it is for.",
            examples=["support bot"],
        ),
    ]
    scopes: Annotated[list[Scope], Field(min_length=1, description="What it may do.", examples=[["predict"]])]
    texts_per_second: float | None = Field(
        None, ge=0.001, le=1e9, description="That it may send for predictions, over all API processes together; null for any number."
    )
    expires_at: Moment | None = Field(None, description="It is good until then; null for ever.")
    project: ProjectId | None = Field(None, description="Whose rows it sees; null for the caller's own.")


class KeyOut(BaseModel):
    id: str
    name: str
    prefix: str = Field(description="How the key begins, after `gd_`.")
    scopes: list[Scope]
    texts_per_second: float | None
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None
    last_used_at: datetime | None = Field(description="To the minute.")
    project: Owner = Field(description="Whose rows it sees.")


class NewKeyOut(KeyOut):
    key: str = Field(description="The key itself, this once.")


class AuditOut(BaseModel):
    id: int
    at: datetime
    project: Owner
    key_id: str | None = Field(description="Null where no key was asked for.")
    actor: str = Field(description="The key's name.")
    action: str
    subject: str = Field(description="Id or name of what it was done to.")
    detail: dict[str, Any]
    request_id: str | None
