"""Which label to ask a text for next, and when enough are under way."""

import math
from collections import Counter

_PRIOR_SAMPLES, _PRIOR_KEPT = 10, 9


class Quota:
    """Counts what was asked for, is under way and was kept. Texts under way count as if kept, so that the kept ones come out balanced.

    A label is asked for at most its share of `limit` times: one whose texts are all dropped must not take the place of the others.
    """

    def __init__(self, labels: list[str], texts: int, limit: int) -> None:
        self.texts, self.limit = texts, limit
        self.kept = Counter(dict.fromkeys(labels, 0))
        self.judged = 0
        self._asked = Counter(dict.fromkeys(labels, 0))
        self._under_way = Counter(dict.fromkeys(labels, 0))
        self._share = math.ceil(limit / len(labels))

    @property
    def reached(self) -> bool:
        return self.kept.total() >= self.texts

    def next_label(self) -> str | None:
        """The label with the fewest texts; None while those under way will probably do, or once the limit is reached."""
        open_labels = [label for label, count in self._asked.items() if count < self._share]
        if not open_labels or self._asked.total() >= self.limit or self._enough_under_way():
            return None
        label = min(open_labels, key=lambda name: (self.kept[name] + self._under_way[name], name))
        self._asked[label] += 1
        self._under_way[label] += 1
        return label

    def note(self, label: str, kept: bool) -> None:
        """A text that was asked for has its verdict."""
        self.judged += 1
        self._under_way[label] -= 1
        self.kept[label] += kept

    def note_earlier(self, label: str, kept: bool) -> None:
        """A text that was asked for and judged before this quota began."""
        self._asked[label] += 1
        self._under_way[label] += 1
        self.note(label, kept)

    def _enough_under_way(self) -> bool:
        """Whether they fill the quota, by the share kept so far, but for two standard deviations of bad luck.

        Asking again once the last ones have ended would cost as many steps again, at a nearly empty batch.
        """
        under_way, missing = self._under_way.total(), self.texts - self.kept.total()
        share = (self.kept.total() + _PRIOR_KEPT) / (self.judged + _PRIOR_SAMPLES)
        return under_way * share - 2 * math.sqrt(under_way * share * (1 - share)) >= missing
