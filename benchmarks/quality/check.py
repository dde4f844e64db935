"""Whether a figure run again lies within the spread of those on record."""

import math
import statistics
from dataclasses import dataclass

from benchmarks.quality.store import Entry, Results


@dataclass(frozen=True)
class Verdict:
    """Within: no farther from the mean on record than two standard deviations over its seeds, or a standard error on the test rows."""

    within: bool
    message: str


def verdict(results: Results, again: Entry) -> Verdict:
    """Compares with the mean over the seeds on record. Raises `LookupError` if there is nothing on record."""
    recorded = [entry for entry in results.entries if (entry.set, entry.method) == (again.set, again.method)]
    if not recorded:
        raise LookupError(f"Nothing is on record for {again.method} on {again.set}.")
    mean = statistics.mean(entry.accuracy for entry in recorded)
    spread = statistics.stdev(entry.accuracy for entry in recorded) if len(recorded) > 1 else 0.0
    chance = math.sqrt(mean * (1 - mean) / again.test_rows)
    tolerance = max(2 * spread, chance)
    within = abs(again.accuracy - mean) <= tolerance
    before = results.find(again.set, again.seed, again.method)
    same = f", {100 * before.accuracy:.2f} on record for this seed" if before else ""
    changed = "" if before and before.fingerprint == again.fingerprint else " Rows, settings or versions are not those on record."
    return Verdict(
        within,
        f"{again.set} seed {again.seed} {again.method}: accuracy {100 * again.accuracy:.2f}{same}; on record {100 * mean:.2f} ± "
        f"{100 * spread:.2f} over {len(recorded)} seed(s): {'within' if within else 'outside'} {100 * tolerance:.2f} of the mean.{changed}",
    )
