"""`/projects`: what goes in and what comes out."""

from datetime import datetime
from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from app.quotas import UsageFigures

ProjectId = Annotated[str, Field(max_length=40, pattern=r"^[a-z][a-z0-9-]*$", examples=["support"])]


def _number(value: object) -> object:
    """As JSON Schema has it, 5.0 is an integer, and neither false nor a text is a number."""
    if isinstance(value, bool | str):
        raise ValueError("write a number")
    return value


_Jobs = Annotated[int, Field(ge=0, le=2**31 - 1), BeforeValidator(_number)]
# Up to what every reader of JSON tells apart.
_Large = Annotated[int, Field(ge=0, le=2**53 - 1), BeforeValidator(_number)]
_Minutes = Annotated[float, Field(ge=0, le=1e9), BeforeValidator(_number)]
_Rate = Annotated[float, Field(ge=0.001, le=1e9), BeforeValidator(_number)]


class Quotas(BaseModel):
    """Null for any number."""

    jobs_running: _Jobs | None = Field(None, description="Jobs that workers are busy with at a time; more wait.")
    jobs_open: _Jobs | None = Field(None, description="Jobs that wait or run.")
    rows: _Large | None = Field(None, description="Of all its datasets.")
    bytes: _Large | None = Field(None, description="That it keeps in the store.")
    minutes_per_month: _Minutes | None = Field(None, description="That workers spend on its stages.")
    texts_per_second: _Rate | None = Field(None, description="That all its keys together may send for predictions.")


class ProjectIn(Quotas):
    model_config = ConfigDict(extra="forbid")

    id: Annotated[ProjectId, Field(description="Small letters, digits and hyphens, a letter first. It stays.")]


class ProjectChange(Quotas):
    """Fields that are left out stay as they are; null lifts a quota."""

    model_config = ConfigDict(extra="forbid")


class ProjectOut(Quotas):
    id: str
    created_at: datetime


class ProjectDetail(ProjectOut):
    usage: UsageFigures
