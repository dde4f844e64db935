"""What the generator wrote of the rows that it learned from, counted over all that it wrote."""

from collections.abc import Iterable, Mapping
from typing import Any

from app.contracts.memorisation import RUN_WORDS, Memorisation
from workers.training.filters import Verdict, normal
from workers.training.shared_runs import SharedRuns


def memorisation(rows: list[str], samples: Iterable[Mapping[str, Any]], max_shared_words: int | None) -> Memorisation:
    """Of all `samples` (text and verdict of each), in one pass. `rows`: those that the filters compared them with."""
    exact, runs = {normal(row) for row in rows}, SharedRuns(rows)
    counts = {"generated": 0, "exact_copies": 0, "near_copies": 0, "shared_runs": 0, "kept": 0, "kept_with_run": 0}
    longest = 0
    for sample in samples:
        text, verdict = sample["text"], sample["verdict"]
        counts["generated"] += 1
        if verdict == Verdict.TRAINING_COPY:
            counts["exact_copies" if normal(text) in exact else "near_copies"] += 1
        elif verdict == Verdict.SHARED_RUN:
            counts["shared_runs"] += 1
        elif verdict == Verdict.KEPT:
            counts["kept"] += 1
            run = runs.longest(text, above=min(longest, RUN_WORDS - 1))  # shorter ones change nothing
            counts["kept_with_run"] += run >= RUN_WORDS
            longest = max(longest, run)
    return Memorisation(**counts, max_shared_words=max_shared_words, run_words=RUN_WORDS, longest_kept_run=longest)
