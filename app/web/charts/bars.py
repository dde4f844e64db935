"""Shares as bars, one a row."""

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from app.web.charts.scales import Scale
from app.web.charts.svg import drawing, element, fitted, hinted, line, text

WIDTH, ROW, TOP, BOTTOM = 360, 21, 4, 22
LEFT, RIGHT = 152, 46
THICKNESS = 10


@dataclass(frozen=True)
class Bar:
    """`value` is a share, 0 to 1; `beside` another of the same thing, drawn as a stroke across the bar."""

    name: str
    value: float
    beside: float | None = None


def bar_chart(bars: Sequence[Bar], description: str, beside: str = "") -> Markup:
    """Bars from 0 to 1. `beside`: what the strokes are, for whoever points at one."""
    x = Scale(0, 1, LEFT, WIDTH - RIGHT)
    bottom = TOP + ROW * len(bars)
    parts: list[Markup] = []
    for tick in (0, 0.25, 0.5, 0.75, 1):
        parts += [line(x(tick), TOP, x(tick), bottom, "grid"), text(x(tick), bottom + 10, f"{100 * tick:g}", "middle", "tick")]
    for place, bar in enumerate(bars):
        y = TOP + ROW * (place + 0.5)
        told = f"{bar.name}: {100 * bar.value:.1f} %" + (f", {beside} {100 * bar.beside:.1f} %" if bar.beside is not None else "")
        drawn = [
            text(LEFT - 8, y, fitted(bar.name, LEFT - 10), "end", "name"),
            element("rect", x=x.start, y=y - THICKNESS / 2, width=x(bar.value) - x.start, height=THICKNESS, class_="bar student"),
            text(WIDTH - RIGHT + 8, y, f"{100 * bar.value:.1f}", class_="value"),
        ]
        if bar.beside is not None:
            drawn.append(line(x(bar.beside), y - 8, x(bar.beside), y + 8, "beside teacher"))
        parts.append(hinted(told, *drawn))
    return drawing(WIDTH, bottom + BOTTOM, description, *parts)
