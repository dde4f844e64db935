"""Which generated texts are kept. Every text gets a verdict, and every verdict is counted."""

import zlib
from enum import StrEnum

import numpy as np
from datasketch import MinHash, MinHashLSH

from workers.training.shared_runs import SharedRuns

_SHINGLE = 5
_PERMUTATIONS = 64


class Verdict(StrEnum):
    KEPT = "kept"
    EMPTY = "empty"
    RUNAWAY = "runaway"
    TRAINING_COPY = "training_copy"
    SHARED_RUN = "shared_run"
    EXACT_DUPLICATE = "exact_duplicate"
    NEAR_DUPLICATE = "near_duplicate"


class TextFilter:
    """Judges texts one after the other; what it keeps counts for the next.

    Near means a Jaccard similarity of the character 5-grams of at least `near_duplicate`: candidates come from MinHash LSH
    (Broder 1997; Leskovec et al., Mining of Massive Datasets, ch. 3), and are then compared exactly. With `max_shared_words`, a text is
    dropped too if it has a longer run of words in common with a training text.
    """

    def __init__(self, training_texts: list[str], near_duplicate: float, max_shared_words: int | None = None) -> None:
        self.near_duplicate, self.max_shared_words = near_duplicate, max_shared_words
        self._runs = SharedRuns(training_texts if max_shared_words is not None else [])
        # LSH misses some pairs near its threshold; a lower one, and the exact comparison after it, catch them.
        self._lsh = MinHashLSH(threshold=max(0.05, near_duplicate - 0.2), num_perm=_PERMUTATIONS)
        self._shingles: list[np.ndarray] = []
        self._exact: dict[str, int] = {}
        self._training = 0
        for text in training_texts:
            key = normal(text)
            if key not in self._exact:
                self._add(key, _shingles(key))
        self._training = len(self._shingles)

    def judge(self, text: str, ended: bool) -> Verdict:
        key = normal(text)
        if not any(character.isalnum() for character in key):
            return Verdict.EMPTY
        if not ended:
            return Verdict.RUNAWAY
        if key in self._exact:
            return Verdict.TRAINING_COPY if self._exact[key] < self._training else Verdict.EXACT_DUPLICATE
        shingles = _shingles(key)
        sketch = _sketch(shingles)
        near = [place for place in self._lsh.query(sketch) if _jaccard(shingles, self._shingles[place]) >= self.near_duplicate]
        if near:
            return Verdict.TRAINING_COPY if min(near) < self._training else Verdict.NEAR_DUPLICATE
        if self.max_shared_words is not None and self._runs.has(text, self.max_shared_words + 1):
            return Verdict.SHARED_RUN
        self._add(key, shingles, sketch)
        return Verdict.KEPT

    def _add(self, key: str, shingles: np.ndarray, sketch: MinHash | None = None) -> None:
        place = len(self._shingles)
        self._lsh.insert(place, sketch or _sketch(shingles))
        self._shingles.append(shingles)
        self._exact[key] = place


def normal(text: str) -> str:
    """Texts with the same one are the same text."""
    return " ".join(text.casefold().split())


def _shingles(key: str) -> np.ndarray:
    """Sorted, unique 32-bit hashes."""
    last = max(1, len(key) - _SHINGLE + 1)
    return np.unique(np.array([zlib.crc32(key[at : at + _SHINGLE].encode()) for at in range(last)], dtype=np.uint32))


def _sketch(shingles: np.ndarray) -> MinHash:
    sketch = MinHash(num_perm=_PERMUTATIONS, seed=1)
    sketch.update_batch([int(shingle).to_bytes(4, "little") for shingle in shingles])
    return sketch


def _jaccard(left: np.ndarray, right: np.ndarray) -> float:
    common = len(np.intersect1d(left, right, assume_unique=True))
    return common / (len(left) + len(right) - common)
