"""`/predictions`: what goes in and what comes out."""

from datetime import datetime
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from app.contracts.bulk import BulkStatus
from app.predictions.schemas import AnswerOptions


class BulkOptions(BaseModel):
    """Query parameters, or fields of a form."""

    model_config = ConfigDict(extra="forbid")

    student: str = Field(min_length=1, max_length=200, description="`name`, `name@alias` or `name:version`, as it stands now.")
    text_column: str = Field("text", min_length=1, max_length=200, description="Column with the texts.")
    top_k: int = Field(1, ge=1, le=1_000_000, description="Above 1, a column `scores` with so many labels.")
    min_score: float | None = Field(None, ge=0, le=1, allow_inf_nan=False, description="Abstain below this score.")
    min_precision: float | None = Field(
        None, ge=0, le=1, allow_inf_nan=False, description="Abstain below the score from which on so many answers are right."
    )
    out_of_scope: bool = Field(False, description="A column that tells how far each text is from all that the student knows.")

    @property
    def answer_options(self) -> AnswerOptions:
        return AnswerOptions(self.top_k, self.min_score, self.min_precision, self.out_of_scope)


class BulkProgress(BaseModel):
    done: int
    total: int
    unit: str = "rows"


class BulkFault(BaseModel):
    """Why it failed, or what the last attempt failed of."""

    type: str
    detail: str
    remedy: str


class BulkOut(BaseModel):
    """A bulk prediction. `student` and `version` were settled when it was sent."""

    id: str
    student: str
    version: int
    status: BulkStatus
    progress: BulkProgress
    eta_seconds: float | None = Field(None, description="Of one that runs, as fast as it has been.")
    threshold: float | None = Field(None, description="Below this score it abstains; null if no threshold was asked for.")
    options: dict[str, Any]
    columns: list[str] = Field(description="Of the result: those of the file, then what is added.")
    attempt: int
    result_bytes: int | None = Field(None, description="Of the result as JSON Lines; null until there is one.")
    error: BulkFault | None = None
    created_at: datetime
    started_at: datetime | None = None
    finished_at: datetime | None = None


FORM_FIELDS: dict[str, Any] = {
    "file": {"type": "string", "format": "binary", "description": "Rows as CSV or JSON Lines, in UTF-8."},
    **BulkOptions.model_json_schema()["properties"],
}
BULK_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "text/csv": {"schema": {"type": "string"}, "example": "text\nWhen will my new card arrive?\n"},
            "application/x-ndjson": {"schema": {"type": "string"}, "example": '{"text": "When will my new card arrive?"}\n'},
            "multipart/form-data": {"schema": {"type": "object", "required": ["file", "student"], "properties": FORM_FIELDS}},
        },
    },
    "parameters": [
        {
            "name": name,
            "in": "query",
            "required": False,
            "schema": {key: value for key, value in schema.items() if key not in ("title", "description")},
            "description": f"{schema.get('description', '')} For a body that is the file itself.",
        }
        for name, schema in BulkOptions.model_json_schema()["properties"].items()
    ],
}
