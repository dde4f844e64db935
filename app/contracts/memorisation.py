"""What a generator wrote of the rows that it learned from, as a job's report tells it."""

from pydantic import BaseModel, Field

RUN_WORDS = 8
"""From so many words on a shared run is told: fewer make a phrase that anybody might write."""


class Memorisation(BaseModel):
    """Generated texts by how near they came to a row. A run: consecutive words in common with one row, whatever case and punctuation."""

    generated: int = Field(description="All texts that were sampled.")
    exact_copies: int = Field(description="A row's text, but for case and white space: dropped.")
    near_copies: int = Field(description="As near to a row as `generate.near_duplicate` forbids: dropped.")
    shared_runs: int = Field(description="With a longer run than `generate.max_shared_words` allows: dropped.")
    max_shared_words: int | None = Field(description="What `generate.max_shared_words` was; null: runs were no reason to drop a text.")
    kept: int
    kept_with_run: int = Field(description="Kept texts with a run of `run_words` or more.")
    run_words: int
    longest_kept_run: int = Field(description="Words of the longest run in any kept text.")

    def dropped(self) -> str:
        """A sentence on what came near a row."""
        allowed = "" if self.max_shared_words is None else f", {self.shared_runs:,} with a run of more than {self.max_shared_words} words"
        return f"Near a row, and dropped: {self.exact_copies:,} exact copies, {self.near_copies:,} near copies{allowed}."

    def left(self) -> str:
        """A sentence on what the kept ones still share with rows."""
        with_run = f"{self.kept_with_run:,} have {self.run_words} or more consecutive words in common with a row"
        return f"Of {self.kept:,} kept texts, {with_run}; the longest such run in any has {self.longest_kept_run}."
