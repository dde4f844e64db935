"""Pictures of figures: pure functions from numbers to SVG markup.

Colours, strokes and fonts come from style sheets through classes (`.student`, `.teacher`, `.baseline`), so that one picture is right in
light, in dark, on paper and under a Content-Security-Policy that allows no inline style. Marks differ in shape as well as in colour.
"""

from app.web.charts.bars import Bar, bar_chart
from app.web.charts.intervals import IntervalRow, interval_chart
from app.web.charts.plot import Axis, Point, Series, plot
from app.web.charts.svg import Role

__all__ = ["Axis", "Bar", "IntervalRow", "Point", "Role", "Series", "bar_chart", "interval_chart", "plot"]
