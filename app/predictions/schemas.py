"""POST /predict: what goes in and what comes out."""

from pydantic import BaseModel, ConfigDict, Field


class PredictRequest(BaseModel):
    model_config = ConfigDict(extra="forbid")

    student: str = Field(min_length=1, max_length=200, description="`name`, `name@alias` or `name:version`.", examples=["triage"])
    inputs: str | list[str] = Field(description="One text or several.", examples=[["my card was stolen"]])
    top_k: int = Field(1, ge=1, description="Labels in `scores`; more than there are gives all.", examples=[3])


class Score(BaseModel):
    label: str
    score: float


class Prediction(BaseModel):
    """`label` and `score` are the best; `scores` holds the `top_k` best, best first. All labels' scores sum to one."""

    label: str
    score: float
    scores: list[Score]


class PredictResponse(BaseModel):
    """`predictions` are in the order of the inputs."""

    student: str
    version: int
    predictions: list[Prediction]
