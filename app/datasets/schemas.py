"""What the dataset calls answer, and how their bodies are described in OpenAPI (they are read by hand, see `uploads.py`)."""

from datetime import datetime
from typing import Any

from pydantic import BaseModel, Field

from app.tables import Dataset


class DatasetView(BaseModel):
    id: str
    rows: int = Field(description="Training rows kept.")
    test_rows: int = Field(description="The caller's own holdout; 0 if a part of the rows will be held out.")
    labels: dict[str, int] = Field(description="Training rows by label.")
    warnings: list[str] = Field(description="What is odd about the rows, but no reason to refuse them.")
    content_hash: str = Field(description="SHA-256 of the kept rows; the same rows get the same dataset.")
    created_at: datetime
    rows_removed_at: datetime | None = Field(
        description="When the rows were removed, for a job with `privacy.keep_rows: false`. Posted again, they are there again."
    )


def dataset_view(dataset: Dataset) -> DatasetView:
    return DatasetView(
        id=dataset.id,
        rows=dataset.rows,
        test_rows=dataset.test_rows,
        labels=dataset.label_counts,
        warnings=dataset.warnings,
        content_hash=dataset.content_hash,
        created_at=dataset.created_at,
        rows_removed_at=dataset.rows_removed_at,
    )


_COLUMNS: dict[str, Any] = {
    "text_column": {"type": "string", "default": "text", "description": "Name of the column that holds the texts."},
    "label_column": {"type": "string", "default": "label", "description": "Name of the column that holds the labels."},
}
FILE_FIELDS: dict[str, Any] = {
    "file": {"type": "string", "format": "binary", "description": "Rows as CSV, JSON Lines or JSON, in UTF-8."},
    "test_file": {"type": "string", "format": "binary", "description": "The caller's own holdout, in the same columns."},
    **_COLUMNS,
}
"""Properties of a multipart body with rows; for other calls that take a file."""

_ROW = {
    "type": "object",
    "properties": {"text": {"type": "string"}, "label": {"oneOf": [{"type": "string"}, {"type": "integer"}, {"type": "boolean"}]}},
    "example": {"text": "When will my new card arrive?", "label": "card_arrival"},
}
_ROWS = {"type": "array", "items": _ROW}
DATASET_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {"schema": {"type": "object", "required": ["file"], "properties": FILE_FIELDS}},
            "application/json": {
                "schema": {"type": "object", "required": ["rows"], "properties": {"rows": _ROWS, "test": _ROWS, **_COLUMNS}},
            },
            "text/csv": {"schema": {"type": "string"}, "example": "text,label\nWhen will my new card arrive?,card_arrival\n"},
            "application/x-ndjson": {"schema": {"type": "string"}},
        },
    },
    "parameters": [
        {"name": name, "in": "query", "required": False, "schema": {"type": "string", "default": schema["default"]}, "description": about}
        for name, schema in _COLUMNS.items()
        for about in [f"{schema['description']} For a body that is the file itself."]
    ],
}
