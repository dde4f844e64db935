"""What garbage collection answers."""

from pydantic import BaseModel, Field

LISTED = 20


class Garbage(BaseModel):
    """Blobs of one kind that nothing uses."""

    count: int = 0
    bytes: int = 0
    names: list[str] = Field([], description=f"The first {LISTED}.")

    def add(self, name: str, size: int) -> None:
        self.count += 1
        self.bytes += size
        if len(self.names) < LISTED:
            self.names.append(name)


class Collection(BaseModel):
    """`dry_run`: what would be removed; else what was."""

    dry_run: bool
    grace_seconds: int = Field(description="What is younger was left alone: its row may be yet to come.")
    artefacts: Garbage = Garbage()
    datasets: Garbage = Garbage()
    checkpoints: Garbage = Garbage()
    bulk_predictions: Garbage = Field(Garbage(), description="Files and results of bulk predictions, by their ids.")
    temporary_files: Garbage = Garbage()
    idempotency_keys: int = Field(0, description="Expired.")
    log_emptied: bool = Field(
        False,
        description="Whether SQLite's log, which holds pages as they were, is empty now. Other databases have tools of their own: true.",
    )
    failed: int = Field(0, description="Blobs that could not be removed; the log says why.")
    bytes: int = Field(0, description="Of all kinds together.")
