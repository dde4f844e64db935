"""How a file of texts is laid out, and what its results look like."""

from typing import Literal

from pydantic import BaseModel, ConfigDict

ADDED = ("label", "score", "abstained")
PREFIX = "predicted_"


class Layout(BaseModel):
    """`columns`: of the file, in the order in which they are first met. `separator_line`: the CSV begins with a `sep=` line."""

    model_config = ConfigDict(frozen=True)

    form: Literal["csv", "jsonl"]
    text_column: str
    columns: list[str]
    delimiter: str = ","
    spaced: bool = False
    separator_line: bool = False


def added_columns(columns: list[str], *, scores: bool, out_of_scope: bool) -> list[str]:
    """What a result adds to a file with these columns. If it has one of that name itself, all that are added get a prefix."""
    added = [*ADDED, *(["scores"] if scores else []), *(["out_of_scope"] if out_of_scope else [])]
    taken = set(columns)
    prefix = ""
    while any(f"{prefix}{name}" in taken for name in added):
        prefix += PREFIX
    return [f"{prefix}{name}" for name in added]
