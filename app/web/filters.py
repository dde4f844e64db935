"""How numbers, times and states are written on pages."""

import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from markupsafe import Markup

STAGE_NAMES = {
    "finetune_teacher": "Teacher",
    "finetune_generator": "Generator",
    "generate": "Generate texts",
    "label": "Label texts",
    "distil": "Distil student",
    "publish": "Evaluate and publish",
}


def number(value: float) -> str:
    """With separators of thousands; a fraction only if there is one."""
    return f"{value:,.0f}" if float(value).is_integer() else f"{value:,.1f}"


def percent(value: float, digits: int = 1) -> str:
    """Of a share: 0.866 is 86.6 %."""
    return f"{100 * value:.{digits}f}\u00a0%"


def duration(seconds: float | None) -> str:
    """`48 s`, `3 min 20 s`, `2 h 5 min`; a dash if there is none."""
    if seconds is None:
        return "\u2013"
    if 0 < seconds < 10:
        return f"{seconds:.1f}\u00a0s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole}\u00a0s"
    if whole < 3600:
        return f"{whole // 60}\u00a0min" + (f" {whole % 60}\u00a0s" if whole % 60 and whole < 600 else "")
    return f"{whole // 3600}\u00a0h" + (f" {whole % 3600 // 60}\u00a0min" if whole % 3600 // 60 else "")


def size(count: float) -> str:
    """Of bytes, in powers of a thousand: `1.1 MB`."""
    for unit, large in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= large:
            return f"{count / large:,.1f}\u00a0{unit}"
    return f"{count:.0f}\u00a0bytes"


def when(moment: datetime) -> Markup:
    """In UTC; `site.js` turns it into the reader's own time."""
    utc = moment.astimezone(UTC)
    return Markup('<time datetime="{}">{}</time>').format(utc.isoformat(timespec="seconds"), f"{utc:%Y-%m-%d %H:%M} UTC")


def stage_name(stage: str) -> str:
    return STAGE_NAMES.get(stage, stage.replace("_", " ").capitalize())


def count_of(count: int, noun: str, plural: str | None = None) -> str:
    """`1 row`, `2 rows`."""
    return f"{count:,} {noun if count == 1 else plural or f'{noun}s'}"


def pretty(value: Any) -> str:
    """As JSON to be read; unlike `tojson`, nothing in it is written as an escape, so it is not for scripts."""
    return json.dumps(value, indent=2, ensure_ascii=False)


FILTERS: dict[str, Callable[..., Any]] = {
    "number": number,
    "percent": percent,
    "duration": duration,
    "size": size,
    "when": when,
    "stage_name": stage_name,
    "count_of": count_of,
    "pretty": pretty,
}
