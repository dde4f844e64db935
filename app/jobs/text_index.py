"""The generated texts of a job, read once and kept in columns, so that a page of those that match takes no pass over the file."""

import sys
import threading
from array import array
from collections import OrderedDict
from collections.abc import Callable, Generator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic_core import from_json

Order = Literal["id", "confidence", "-confidence"]
Rows = NDArray[np.int64]
_NOT_READ = 2.0
"""In place of the confidence of a text that the teacher did not read, which comes last in either order."""
_CACHED_BYTES = 64_000_000


@dataclass(frozen=True, slots=True)
class TextFilter:
    """Which texts, and in what order; as it is made, all of them.

    `label`: the teacher's answer, or of a text that it did not read the label that was asked for. `search`: a part of the text, in
    letters of either case. `confidence`: the teacher's largest probability; a bound leaves out the texts that it did not read.
    """

    verdict: str | None = None
    label: str | None = None
    search: str = ""
    min_confidence: float | None = None
    max_confidence: float | None = None
    order: Order = "id"


class TextIndex:
    """Of one file. A row is a text's place, counted from 0; its id is one more. Never changes, so threads may share it."""

    def __init__(self, path: Path) -> None:
        offsets, confidences = array("q", [0]), array("d")
        verdicts, labels = _Codes(), _Codes()
        folded: list[str] = []
        with path.open("rb") as file:
            for line in file:
                found = from_json(line)  # in a third of the time of json.loads
                answer, confidence = _answer(found.get("probabilities"))
                offsets.append(offsets[-1] + len(line))
                verdicts.add(found["verdict"])
                labels.add(answer if answer is not None else found.get("label"))
                confidences.append(confidence)
                folded.append(found["text"].casefold())
        self._offsets, self._folded = offsets, folded
        self._verdicts, self._labels, self._confidences = verdicts, labels, np.array(confidences)
        self.bytes = sum(map(sys.getsizeof, folded)) + 32 * len(offsets)

    def __len__(self) -> int:
        return len(self._offsets) - 1

    @property
    def verdicts(self) -> dict[str, int]:
        """Texts by verdict, the most frequent first."""
        return self._verdicts.counts()

    @property
    def labels(self) -> dict[str, int]:
        """Texts by label, as a `TextFilter` means it, the most frequent first."""
        return self._labels.counts()

    def matching(self, wanted: TextFilter) -> Rows:
        """Rows in the order that is wanted; of equal confidence, the first in the file is first."""
        mask = np.ones(len(self), dtype=bool)
        if wanted.verdict is not None:
            mask &= self._verdicts.where(wanted.verdict)
        if wanted.label is not None:
            mask &= self._labels.where(wanted.label)
        if wanted.min_confidence is not None or wanted.max_confidence is not None:
            least, most = wanted.min_confidence or 0.0, 1.0 if wanted.max_confidence is None else wanted.max_confidence
            mask &= (self._confidences >= least) & (self._confidences <= most)
        if wanted.search:
            part = wanted.search.casefold()
            mask &= np.fromiter((part in text for text in self._folded), dtype=bool, count=len(self))
        rows: Rows = np.flatnonzero(mask)
        return rows if wanted.order == "id" else rows[np.argsort(self._keys(wanted.order)[rows], kind="stable")]

    def following(self, rows: Rows, order: Order, after: int) -> Rows:
        """Those of `rows`, as `matching` gives them, that come after the text with the id `after`, whether it is one of them or not."""
        if not 1 <= after <= len(self):
            return rows if after < 1 else rows[:0]
        last = after - 1
        if order == "id":
            return rows[rows > last]
        keys = self._keys(order)
        found: Rows = rows[(keys[rows] > keys[last]) | ((keys[rows] == keys[last]) & (rows > last))]
        return found

    def ids_with(self, *verdicts: str) -> set[int]:
        mask = np.zeros(len(self), dtype=bool)
        for verdict in verdicts:
            mask |= self._verdicts.where(verdict)
        return {row + 1 for row in np.flatnonzero(mask).tolist()}

    def lines(self, path: Path, rows: Rows) -> Generator[tuple[int, bytes]]:
        """Id and line of each row. `path`: of the file that was read, or of a copy."""
        with path.open("rb") as file:
            for row in rows.tolist():
                file.seek(self._offsets[row])
                yield row + 1, file.read(self._offsets[row + 1] - self._offsets[row])

    def _keys(self, order: Order) -> NDArray[np.float64]:
        if order == "confidence":
            return self._confidences
        return np.where(self._confidences == _NOT_READ, _NOT_READ, -self._confidences)


class _Codes:
    """A column of few distinct values, each row as the number of its own."""

    def __init__(self) -> None:
        self._known: dict[str | None, int] = {}
        self._rows = array("i")

    def add(self, value: str | None) -> None:
        self._rows.append(self._known.setdefault(value, len(self._known)))

    def where(self, value: str) -> NDArray[np.bool_]:
        found: NDArray[np.bool_] = np.array(self._rows, dtype=np.intc) == self._known.get(value, -1)
        return found

    def counts(self) -> dict[str, int]:
        counted = np.bincount(np.array(self._rows, dtype=np.intc), minlength=len(self._known)).tolist()
        named = {value: counted[code] for value, code in self._known.items() if value is not None}
        return dict(sorted(named.items(), key=lambda item: (-item[1], item[0])))


def _answer(probabilities: dict[str, float] | None) -> tuple[str | None, float]:
    if not probabilities:
        return None, _NOT_READ
    label = max(probabilities, key=probabilities.__getitem__)
    return label, probabilities[label]


class IndexCache:
    """The indexes used last, as long as they take no more than `limit_bytes` together, or are one. Safe to share between threads."""

    def __init__(self, limit_bytes: int = _CACHED_BYTES, read: Callable[[Path], TextIndex] = TextIndex) -> None:
        self._limit, self._read = limit_bytes, read
        self._lock, self._reading = threading.Lock(), threading.Lock()
        self._known: OrderedDict[str, TextIndex] = OrderedDict()

    def get(self, content_hash: str, path: Path) -> TextIndex:
        """The index of the file with that hash, which is read by one thread at a time: who types asks several times for the same one."""
        if (known := self._peek(content_hash)) is not None:
            return known
        with self._reading:
            if (known := self._peek(content_hash)) is not None:
                return known
            made = self._read(path)
        with self._lock:
            self._known[content_hash] = made
            while len(self._known) > 1 and sum(index.bytes for index in self._known.values()) > self._limit:
                self._known.popitem(last=False)
        return made

    def _peek(self, content_hash: str) -> TextIndex | None:
        with self._lock:
            if (known := self._known.get(content_hash)) is not None:
                self._known.move_to_end(content_hash)
            return known
