"""Health, readiness and the catalogues."""

from typing import Literal

from pydantic import BaseModel, Field

from app.contracts.spec import JobSpec


class Health(BaseModel):
    status: Literal["ok"] = "ok"


class Check(BaseModel):
    ok: bool
    error: str | None = None


class Readiness(BaseModel):
    ready: bool
    checks: dict[str, Check] = Field(description="database, redis, storage.")


class PresetOut(BaseModel):
    name: str
    summary: str
    default: bool = Field(description="Used if a job names none.")
    spec: JobSpec


class StudentKindOut(BaseModel):
    name: str = Field(description="For `spec.distil.student`.")
    summary: str


class ModelOut(BaseModel):
    """A model that needs no download."""

    reference: str
    role: Literal["teacher", "generator"]
    parameters: int
    licence: str
    summary: str


class Catalogue(BaseModel):
    presets: list[PresetOut]
    students: list[StudentKindOut]
    models: list[ModelOut]
