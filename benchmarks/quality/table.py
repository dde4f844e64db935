"""The results as Markdown: one table a set, and a summary over the sets."""

import shlex
import statistics
from collections.abc import Callable, Iterable

from benchmarks.quality.methods import OURS, PEERS
from benchmarks.quality.store import Entry, Origin, Results
from benchmarks.quality.summary import summary


def render(results: Results) -> str:
    entries = results.entries
    sets = sorted({entry.set for entry in entries})
    methods = _ordered({entry.method for entry in entries})
    parts = ["# Quality: ours beside the peers, on the same rows", *_origins(results), *summary(entries, sets, methods)]
    for name in sets:
        parts += _set_table([entry for entry in entries if entry.set == name], methods)
    parts += ["## Methods", "", *(f"- `{method}`: {_description(method, entries)}." for method in methods), ""]
    return "\n".join([*parts, *_NOTES, ""])


_NOTES = (
    "Mean ± standard deviation over the seeds; a seed also draws the rows anew, unless said otherwise. Bytes: what must be kept.",
    "Training seconds: from the rows to that model, for our student through all stages, with the two variants that a job trains for its",
    "report; `-` where no user would train the variant alone. Texts/s: one process, the whole test set at once, each at its",
    "defaults, our student in the runtime of the API.",
)


def _ordered(methods: Iterable[str]) -> list[str]:
    """Ours by preset, then the peers, each in the order of the catalogue."""
    order = [*OURS, *PEERS]

    def place(method: str) -> tuple[bool, str, int, str]:
        preset, _, name = method.rpartition("/")
        return (not preset, preset, order.index(name) if name in order else len(order), name)

    return sorted(methods, key=place)


def _description(method: str, entries: list[Entry]) -> str:
    preset, _, name = method.rpartition("/")
    told = [{**OURS, **PEERS}.get(name, name), *([f"preset `{preset}`"] if preset else [])]
    settings = {key: value for entry in entries if entry.method == method for key, value in entry.notes.get("settings", {}).items()}
    return "; ".join([*told, *(f"{key} {value}" for key, value in settings.items())])


def _origins(results: Results) -> list[str]:
    lines = [""]
    for name, origin in results.origins.items():
        packages = ", ".join(f"{package} {number}" for package, number in origin.packages.items())
        command = _command([entry for entry in results.entries if entry.origin == name], origin)
        lines += [f"`{command}`", "", f"on {origin.cores} cores ({origin.processor}), Python {origin.python}; {packages}.", ""]
    return [*lines, "The peers' versions are those of `benchmarks/peers/requirements.txt`.", ""]


def _command(entries: list[Entry], origin: Origin) -> str:
    """Makes these entries at once, however many calls they were made by."""
    presets = sorted({entry.method.rpartition("/")[0] for entry in entries} - {""})
    methods = {entry.method.rpartition("/")[2] for entry in entries}
    words = ["python", "-m", "benchmarks.quality", "--sets", ",".join(sorted({entry.set for entry in entries}))]
    words += ["--seeds", str(1 + max(entry.seed for entry in entries))]
    words += ["--presets", ",".join(presets)] if presets else []
    words += ["--methods", ",".join(name for name in (*OURS, *PEERS) if name in methods)] if methods != {*OURS, *PEERS} else []
    return shlex.join([*words, *origin.settings])


def _set_table(entries: list[Entry], methods: list[str]) -> list[str]:
    first, seeds = entries[0], sorted({entry.seed for entry in entries})
    rows = "the same rows for every seed" if not first.redrawn else "rows drawn anew for each seed"
    lines = [
        f"## {first.set}",
        "",
        f"{first.classes} classes, {first.seed_rows:,} rows, {_scored(entries)} test rows; {len(seeds)} seed(s), {rows}.",
        "",
        "| method | accuracy | macro F1 | parameters | bytes | training s | texts/s |",
        "|---|---|---|---|---|---|---|",
    ]
    notes: list[str] = []
    for method in methods:
        own = [entry for entry in entries if entry.method == method]
        if not own:
            continue
        taken = [entry.train_seconds for entry in own if entry.train_seconds is not None]
        seconds, rate = f"{statistics.mean(taken):,.0f}" if taken else "-", statistics.mean(entry.texts_per_second for entry in own)
        few = f" ({len(own)} of {len(seeds)} seeds)" if len(own) < len(seeds) else ""
        lines.append(
            f"| {method}{few} | {_spread([entry.accuracy for entry in own])} | {_spread([entry.macro_f1 for entry in own])} "
            f"| {_range(own, lambda entry: entry.parameters)} | {_range(own, lambda entry: entry.bytes)} "
            f"| {seconds} | {rate:,.0f} |"
        )
        notes += _shortage(method, own)
    return [*lines, "", *notes]


def _scored(entries: list[Entry]) -> str:
    """One number where all test rows were scored, else how many of how many, by method where methods differ."""
    numbers = {(entry.test_rows, entry.test_rows_there) for entry in entries}
    return " or ".join(f"{rows:,}" if rows == there else f"a random {rows:,} of {there:,}" for rows, there in sorted(numbers))


def _shortage(method: str, entries: list[Entry]) -> list[str]:
    """A ceiling with fewer real texts than there were generated ones is no equal comparison, and says so."""
    short = [
        entry
        for entry in entries
        if entry.notes.get("real_texts", 0) < entry.notes.get("generated_texts", 0) and "real_texts" in entry.notes
    ]
    if not short:
        return []
    real, generated = short[0].notes["real_texts"], short[0].notes["generated_texts"]
    return [f"`{method}`: the set has only {real:,} real texts besides the sample, {generated:,} were generated.", ""]


def _spread(values: list[float]) -> str:
    points = [100 * value for value in values]
    return f"{points[0]:.1f}" if len(points) == 1 else f"{statistics.mean(points):.1f} ± {statistics.stdev(points):.1f}"


def _range(entries: list[Entry], figure: Callable[[Entry], int]) -> str:
    """Vocabularies differ from sample to sample, and with them sizes."""
    low, high = min(map(figure, entries)), max(map(figure, entries))
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"
