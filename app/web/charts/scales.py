"""From figures to places on a picture, and the figures worth a tick."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

_STEPS = (1, 2, 2.5, 5, 10)


@dataclass(frozen=True)
class Scale:
    """Maps `low`..`high` to `start`..`end`, by their logarithms where `log`. What lies outside is put at the border."""

    low: float
    high: float
    start: float
    end: float
    log: bool = False

    def __call__(self, value: float) -> float:
        low, high, found = (math.log10(max(x, 1e-12)) if self.log else x for x in (self.low, self.high, value))
        share = (found - low) / (high - low) if high > low else 0.5
        return self.start + min(max(share, 0.0), 1.0) * (self.end - self.start)


def linear_ticks(low: float, high: float, most: int = 6) -> list[float]:
    """Round figures in `low`..`high`, at most so many, by the smallest of the steps 1, 2, 2.5 and 5 times a power of ten that allows it."""
    if not high > low:
        return [low]
    power = 10 ** math.floor(math.log10((high - low) / most))
    for step in (factor * scale for scale in (power, 10 * power) for factor in _STEPS):
        first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
        if last - first < most:
            return [round(place * step, 12) for place in range(first, last + 1)]
    return [low, high]


def log_ticks(low: float, high: float) -> list[float]:
    """Powers of ten in `low`..`high`; with 2 and 5 times them where these are fewer than three."""
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    for factors in ((1,), (1, 2, 5)):
        found = [factor * 10.0**power for power in powers for factor in factors if low <= factor * 10.0**power <= high]
        if len(found) > 2:
            break
    return found


def around(values: Sequence[float], least: float = 0.1) -> tuple[float, float]:
    """A round stretch that holds the shares with some air, at least `least` wide, within 0..1."""
    lowest, highest = min(values, default=0.0), max(values, default=1.0)
    air = 0.08 * (highest - lowest)
    low, high = max(lowest - air, 0.0), min(highest + air, 1.0)
    middle = (low + high) / 2
    low, high = min(low, max(middle - least / 2, 0.0)), max(high, min(middle + least / 2, 1.0))
    ticks = linear_ticks(low, high)
    step = ticks[1] - ticks[0] if len(ticks) > 1 else least
    # Rounded, or what follows the last digit would leave a value outside.
    low, high = (round(place * step, 12) for place in (math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)))
    return min(max(low, 0.0), lowest), max(min(high, 1.0), highest)
