"""Train, validation and holdout. A pure function of rows and spec, so that every stage sees the same parts."""

import random
from collections import defaultdict
from dataclasses import dataclass
from enum import StrEnum

from app.contracts.rows import Row
from app.contracts.spec import SplitSpec


class Lineage(StrEnum):
    """Which rows a teacher and its student have learned from.

    `measured`: never from the holdout, so that its score there is honest. `published`: from the holdout too, once all is measured: with
    ten rows a class, the two that are held out are worth more in the model than any number about it.
    """

    MEASURED = "measured"
    PUBLISHED = "published"


@dataclass(frozen=True)
class Split:
    """`labels` is sorted; its order is that of the logits. `refit`: whether the published models also learn from the holdout."""

    labels: list[str]
    train: list[Row]
    validation: list[Row]
    holdout: list[Row]
    refit: bool = False

    @property
    def lineages(self) -> list[Lineage]:
        """In the order of their making; the last one's student is published."""
        return [Lineage.MEASURED, Lineage.PUBLISHED] if self.refit else [Lineage.MEASURED]

    def seed_rows(self, lineage: Lineage) -> list[Row]:
        """The rows that teacher and student of a lineage learn from. The validation part is only held back from the generator."""
        return self.train + self.validation + (self.holdout if lineage == Lineage.PUBLISHED else [])

    def targets(self, rows: list[Row]) -> list[int]:
        index = {label: position for position, label in enumerate(self.labels)}
        return [index[row.label] for row in rows]


def split_rows(rows: list[Row], test: list[Row], spec: SplitSpec) -> Split:
    """Stratified by label. The caller's own test rows, where there are any, are the holdout, and are never learned from."""
    by_label: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        by_label[row.label].append(row)
    rng = random.Random(spec.seed)
    train: list[Row] = []
    validation: list[Row] = []
    holdout: list[Row] = list(test)
    for label in sorted(by_label):
        members = by_label[label]
        rng.shuffle(members)
        if not test:
            held = _part(len(members), spec.holdout_fraction)
            holdout += members[:held]
            members = members[held:]
        kept = _part(len(members), spec.validation_fraction)
        validation += members[:kept]
        train += members[kept:]
    rng.shuffle(train)
    return Split(sorted(by_label), train, validation, holdout, refit=spec.refit and not test)


def _part(count: int, fraction: float) -> int:
    """At least one row, and never all of them."""
    return min(max(1, round(count * fraction)), count - 1)
