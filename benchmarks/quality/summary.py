"""Over the sets: mean accuracy of each method, student over teacher, and what generated texts are worth of real ones."""

import statistics

from benchmarks.quality.methods import KINDS
from benchmarks.quality.store import Entry

_DECIDED = 0.003
"""A ceiling nearer than this to distillation without generated texts leaves no gap whose share could be told."""


def summary(entries: list[Entry], sets: list[str], methods: list[str]) -> list[str]:
    """A mean is over the sets that have the method, and says so if those are not all."""
    lines = ["## Summary", "", f"Mean accuracy by set, and over the sets ({len(sets)}).", ""]
    lines += [f"| method | {' | '.join(sets)} | mean | macro F1 |", "|---|" + "---|" * (len(sets) + 2)]
    for method in methods:
        means = {name: _mean(entries, name, method) for name in sets}
        known = [value for value in means.values() if value is not None]
        f1 = [value for name in sets if (value := _mean(entries, name, method, "macro_f1")) is not None]
        cells = " | ".join("-" if value is None else f"{100 * value:.1f}" for value in means.values())
        few = f" ({len(known)} sets)" if len(known) < len(sets) else ""
        lines.append(f"| {method} | {cells} | {100 * statistics.mean(known):.1f}{few} | {100 * statistics.mean(f1):.1f} |")
    presets = list(dict.fromkeys(method.rpartition("/")[0] for method in methods if "/" in method))
    for preset in presets:
        lines += _ratios(entries, sets, preset)
    return [*lines, ""]


def _ratios(entries: list[Entry], sets: list[str], preset: str) -> list[str]:
    """Student over teacher for each kind, and what generated texts are worth of real ones."""
    kinds = [kind for kind in KINDS if any(entry.method == f"{preset}/{kind}" for entry in entries)]
    columns: dict[str, list[float | None]] = {}
    for kind in kinds:
        columns[f"{kind} / teacher"] = [
            _divided(_mean(entries, name, f"{preset}/{kind}"), _mean(entries, name, f"{preset}/teacher")) for name in sets
        ]
    columns["generated / real"] = [_worth(entries, name, preset) for name in sets]
    if not any(value is not None for values in columns.values() for value in values):
        return []
    lines = [
        "",
        f"Preset `{preset}`: accuracy of the student over that of the teacher, and what generated texts are worth of as many real ones,",
        "(generated - without) / (real - without), which is not told where the two ends are less than three tenths of a point apart.",
        "",
    ]
    lines += [f"| set | {' | '.join(columns)} |", "|---|" + "---|" * len(columns)]
    for place, name in enumerate(sets):
        lines.append(f"| {name} | {' | '.join(_ratio(values[place]) for values in columns.values())} |")
    for title, fold in (("mean", statistics.mean), ("lowest", min)):
        cells = (
            _ratio(fold(known) if (known := [value for value in values if value is not None]) else None) for values in columns.values()
        )
        lines.append(f"| {title} | {' | '.join(cells)} |")
    return lines


def _worth(entries: list[Entry], name: str, preset: str) -> float | None:
    ceilings = [entry for entry in entries if entry.set == name and entry.method == f"{preset}/ceiling"]
    if not ceilings:
        return None
    generated = _mean(entries, name, f"{preset}/{ceilings[0].notes['kind']}")
    without, ceiling = _mean(entries, name, f"{preset}/no_generation"), _mean(entries, name, f"{preset}/ceiling")
    if generated is None or without is None or ceiling is None or abs(ceiling - without) < _DECIDED:
        return None
    return (generated - without) / (ceiling - without)


def _mean(entries: list[Entry], name: str, method: str, column: str = "accuracy") -> float | None:
    values = [float(getattr(entry, column)) for entry in entries if entry.set == name and entry.method == method]
    return statistics.mean(values) if values else None


def _divided(value: float | None, by: float | None) -> float | None:
    return None if value is None or by is None else value / by


def _ratio(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
