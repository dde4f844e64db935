"""`bundle.json`: what a bundle tells of its student that only the database knew, and the hashes of its files."""

from datetime import datetime
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from app.contracts.artefacts import FileEntry
from app.jobs.schemas import NAME_PATTERN

BUNDLE_FILE = "bundle.json"


class DataCounts(BaseModel):
    """The dataset that the student learned from."""

    model_config = ConfigDict(frozen=True)

    rows: int = Field(ge=0)
    test_rows: int = Field(ge=0)
    label_counts: dict[str, int]
    sha256: str = Field(max_length=64, description="Of the rows.")


class BundleInfo(BaseModel):
    """`name` and `version` are those where it was published first; an imported student keeps them as its origin."""

    model_config = ConfigDict(frozen=True)

    format: Literal[1] = 1
    name: str = Field(pattern=NAME_PATTERN)
    version: int = Field(ge=1, le=2**31 - 1)
    published_at: datetime
    data: DataCounts | None
    files: dict[str, FileEntry] = Field(description="The student's own files: what `predict.py` reads, and the report.")
