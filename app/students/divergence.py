"""How far two samples of one thing in categories are apart, and whether chance alone would bring them so far."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

DRAWS = 499
_ADDED = 0.5
"""To each count, so that a category that one sample lacks has a logarithm (Jeffreys' prior)."""

_MOST = 10**8
"""Texts, about; numpy draws from no more than ten times as many, and of so many the last digits say nothing."""

Counts = NDArray[np.int64]
Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Divergence:
    """`psi`: the population stability index. `by_chance`: its mean where the same texts fall to the two samples at random.

    `p_value`: how often they are then at least as far apart. `total_variation`: the share of one sample that would have to be
    other, 0 to 1.
    """

    psi: float
    by_chance: float
    p_value: float
    total_variation: float


def divergence(reference: list[int], live: list[int], seed: int = 0) -> Divergence:
    """Counts of the same categories, of one text each at least.

    PSI is the sum over categories of (p - q) ln(p / q). Between small samples it is large by chance: by about (K - 1) (1/n + 1/m)
    (Yurdakul and Naranjo 2020), but by another value where categories are rare. So it is a permutation test, which is exact there too.
    """
    counts = np.array([reference, live], np.int64)
    counts = counts[:, counts.sum(axis=0) > 0]
    counts[1] //= max(1, counts[1].sum() // _MOST)
    sizes, both = counts.sum(axis=1), counts.sum(axis=0)
    found = float(_psi(counts[0], counts[1]))
    drawn_first = np.random.default_rng(seed).multivariate_hypergeometric(both, sizes[0], DRAWS, method="marginals")
    drawn = _psi(drawn_first, both - drawn_first)
    shares = counts / sizes[:, None]
    return Divergence(
        psi=found,
        by_chance=float(drawn.mean()),
        p_value=float((1 + (drawn >= found).sum()) / (1 + DRAWS)),
        total_variation=float(abs(shares[0] - shares[1]).sum() / 2),
    )


def _psi(first: Counts, second: Counts) -> Floats:
    """Over the last axis."""
    p, q = ((counts + _ADDED) / (counts + _ADDED).sum(axis=-1, keepdims=True) for counts in (first, second))
    found: Floats = np.asarray(((p - q) * np.log(p / q)).sum(axis=-1))
    return found
