"""The longest run of words that a text has in common with one of many rows.

Such a run is "verbatim memorisation" as Carlini et al. mean it (Extracting Training Data from Large Language Models, 2021; Quantifying
Memorization Across Neural Language Models, 2022), with words in place of a model's pieces, so that it means the same of every generator.
"""

import hashlib
import re
from collections.abc import Iterable
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

Hashes = NDArray[np.uint64]
# Scripts that write no spaces: Thai to Tibetan, Myanmar, Khmer, kana, Han. There each character is a word.
_UNSPACED = "\u0e00-\u0fff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
_WORD = re.compile(rf"[{_UNSPACED}]|[^\W_{_UNSPACED}]+")
_BASE = 0x9E3779B97F4A7C15
"""Odd, so that it has an inverse modulo 2^64."""
_INVERSE = pow(_BASE, -1, 2**64)
_LENGTHS = 16
_TEXT_WORDS = 4096


class SharedRuns:
    """Finds the longest run of words that a text has in common with one of the rows. Case, punctuation and white space don't count.

    The n-grams of the rows are kept as sorted 64-bit hashes, one array for each n that was asked about: (W,) for rows of W words.
    """

    def __init__(self, rows: Iterable[str]) -> None:
        split = [words(row) for row in rows]
        self._sums, self._scales = _sums([word for row in split for word in row])
        lengths = np.array([len(row) for row in split], dtype=np.int64)
        # Of each word, how many of its row are left, itself among them: no run reaches over the end of a row.
        self._left = np.repeat(np.cumsum(lengths), lengths) - np.arange(lengths.sum())
        self._grams = lru_cache(_LENGTHS)(self._grams_of)

    def has(self, text: str, length: int) -> bool:
        """Whether `text` has a run of `length` words, at least 1, in common with a row."""
        return self._shares(*_sums(words(text)), length)

    def longest(self, text: str, above: int = 0) -> int:
        """In words; `above` if it is not longer than that, which costs least to tell."""
        found = words(text)
        sums, scales = _sums(found)
        low, high = above, len(found) + 1
        while low + 1 < high:  # a run of n words holds one of n - 1
            middle = low + 1 if low == above else (low + high) // 2
            if self._shares(sums, scales, middle):
                low = middle
            else:
                high = middle
        return low

    def _shares(self, sums: Hashes, scales: Hashes, length: int) -> bool:
        if length >= len(sums):
            return False
        known, asked = self._grams(length), _grams(sums, scales, length)
        if not len(known):
            return False
        return bool((known[np.minimum(np.searchsorted(known, asked), len(known) - 1)] == asked).any())

    def _grams_of(self, length: int) -> Hashes:
        if length >= len(self._sums):
            return np.empty(0, dtype=np.uint64)
        whole = self._left[: len(self._left) - length + 1] >= length
        return np.unique(_grams(self._sums, self._scales, length)[whole])


def words(text: str) -> list[str]:
    return _WORD.findall(text.casefold())


def _sums(found: list[str]) -> tuple[Hashes, Hashes]:
    """Prefix sums (W + 1,) of the words' hashes times powers of the base, and the powers of its inverse (W + 1,), modulo 2^64."""
    values = np.array([_hash(word) for word in found], dtype=np.uint64)
    powers, inverses = (_powers(base, len(found) + 1) for base in (_BASE, _INVERSE))
    return np.concatenate([np.zeros(1, dtype=np.uint64), np.cumsum(values * powers[:-1], dtype=np.uint64)]), inverses


def _grams(sums: Hashes, scales: Hashes, length: int) -> Hashes:
    """(W - n + 1,) the polynomial hash of each run of n words, wherever it stands (Rabin and Karp 1987)."""
    found: Hashes = (sums[length:] - sums[:-length]) * scales[: len(sums) - length]
    return found


def _powers(base: int, count: int) -> Hashes:
    # Those of texts are needed again and again, those of all rows once.
    return _text_powers(base)[:count] if count <= _TEXT_WORDS else _powers_of(base, count)


@lru_cache
def _text_powers(base: int) -> Hashes:
    return _powers_of(base, _TEXT_WORDS)


def _powers_of(base: int, count: int) -> Hashes:
    factors = np.full(count, base, dtype=np.uint64)
    factors[0] = 1
    found: Hashes = np.cumprod(factors, dtype=np.uint64)
    return found


@lru_cache(100_000)
def _hash(word: str) -> int:
    return int.from_bytes(hashlib.blake2b(word.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "little")
