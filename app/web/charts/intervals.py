"""Scores with their intervals, one a row."""

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from app.web.charts.scales import Scale, around, linear_ticks
from app.web.charts.svg import Role, drawing, fitted, hinted, line, mark, text

WIDTH, ROW, TOP, BOTTOM = 340, 46, 0, 34
LEFT, RIGHT = 104, 60


@dataclass(frozen=True)
class IntervalRow:
    """`value`, `low` and `high` are shares, 0 to 1."""

    name: str
    role: Role
    value: float
    low: float
    high: float


def interval_chart(rows: Sequence[IntervalRow], axis: str, description: str) -> Markup:
    """Dots with their intervals. The axis need not begin at zero: what is read is where intervals lie to each other."""
    low, high = around([edge for row in rows for edge in (row.low, row.high)])
    x = Scale(low, high, LEFT, WIDTH - RIGHT)
    bottom = TOP + ROW * len(rows)
    parts: list[Markup] = []
    for tick in linear_ticks(low, high, most=5):
        parts += [line(x(tick), TOP, x(tick), bottom, "grid"), text(x(tick), bottom + 10, f"{100 * tick:g} %", "middle", "tick")]
    parts.append(text((x.start + x.end) / 2, bottom + 26, axis, "middle", "axis"))
    for place, row in enumerate(rows):
        y = TOP + ROW * (place + 0.5)
        told = f"{row.name}: {100 * row.value:.1f} % ({100 * row.low:.1f} to {100 * row.high:.1f})"
        parts.append(
            hinted(
                told,
                text(LEFT - 10, y, fitted(row.name, LEFT - 12), "end", f"name {row.role}"),
                line(x(row.low), y, x(row.high), y, f"interval {row.role}"),
                *(line(x(edge), y - 4, x(edge), y + 4, f"interval {row.role}") for edge in (row.low, row.high)),
                mark(x(row.value), y, row.role),
                text(WIDTH - RIGHT + 10, y, f"{100 * row.value:.1f} %", class_=f"value {row.role}"),
            )
        )
    return drawing(WIDTH, bottom + BOTTOM, description, *parts)
