"""Points and lines over two axes."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from app.web.charts.scales import Scale, linear_ticks, log_ticks
from app.web.charts.svg import Role, drawing, element, fitted, hinted, line, mark, number, text, text_width

WIDTH, HEIGHT = 340, 260
LEFT, RIGHT, TOP, BOTTOM = 48, 20, 30, 42
LABEL, REACH = 13, 7
"""Height of a name, and how far a mark reaches."""

Box = tuple[float, float, float, float]
"""Left, top, right, bottom."""


@dataclass(frozen=True)
class Axis:
    title: str
    low: float
    high: float
    shown: Callable[[float], str]
    log: bool = False

    def ticks(self) -> list[float]:
        return log_ticks(self.low, self.high) if self.log else linear_ticks(self.low, self.high)


@dataclass(frozen=True)
class Point:
    """`low` and `high`: of the interval of `y`. `name` stands beside the point, `hint` is told to whoever points at it."""

    x: float
    y: float
    hint: str
    low: float | None = None
    high: float | None = None
    name: str = ""


@dataclass(frozen=True)
class Series:
    """`line`: joins the points. Marks are left out where there are many points on a line."""

    name: str
    role: Role
    points: Sequence[Point]
    line: bool = True
    marks: bool = True


def plot(series: Sequence[Series], x_axis: Axis, y_axis: Axis, description: str, diagonal: str = "") -> Markup:
    """The first series is drawn over the others. `diagonal`: what the line x = y means, where there is to be one."""
    x = Scale(x_axis.low, x_axis.high, LEFT, WIDTH - RIGHT, x_axis.log)
    y = Scale(y_axis.low, y_axis.high, HEIGHT - BOTTOM, TOP, y_axis.log)
    parts = _axes(x, y, x_axis, y_axis)
    if diagonal:
        low, high = max(x_axis.low, y_axis.low), min(x_axis.high, y_axis.high)
        parts.append(hinted(diagonal, line(x(low), y(low), x(high), y(high), "diagonal")))
    for one in reversed(series):
        if one.line:
            places = " ".join(f"{number(x(point.x))},{number(y(point.y))}" for point in one.points)
            parts.append(element("polyline", points=places, class_=f"line {one.role}"))
    for one in reversed(series):
        parts += [_point(point, one, x, y) for point in one.points]
    parts += _names(series, x, y)
    parts += _legend(series)
    return drawing(WIDTH, HEIGHT, description, *parts)


def _axes(x: Scale, y: Scale, x_axis: Axis, y_axis: Axis) -> list[Markup]:
    parts: list[Markup] = []
    for tick in y_axis.ticks():
        parts += [line(x.start, y(tick), x.end, y(tick), "grid"), text(x.start - 6, y(tick), y_axis.shown(tick), "end", "tick")]
    for tick in x_axis.ticks():
        parts += [line(x(tick), y.start, x(tick), y.start + 4, "grid"), text(x(tick), y.start + 13, x_axis.shown(tick), "middle", "tick")]
    parts.append(text((x.start + x.end) / 2, HEIGHT - 9, x_axis.title, "middle", "axis"))
    return parts


def _point(point: Point, series: Series, x: Scale, y: Scale) -> Markup:
    place = x(point.x)
    drawn: list[Markup] = []
    if point.low is not None and point.high is not None:
        drawn.append(line(place, y(point.low), place, y(point.high), f"interval {series.role}"))
    # A larger target than what is seen, so that a line without marks tells its figures too.
    drawn.append(element("circle", cx=place, cy=y(point.y), r=9, class_="target"))
    if series.marks:
        drawn.append(mark(place, y(point.y), series.role))
    return hinted(point.hint, *drawn)


def _names(series: Sequence[Series], x: Scale, y: Scale) -> list[Markup]:
    """Beside, above or below their points: where they cover neither a mark nor a name that was put before."""
    places = [(x(point.x), y(point.y)) for one in series for point in one.points]
    taken = [(place - REACH, height - REACH, place + REACH, height + REACH) for place, height in places]
    named = [(x(point.x), y(point.y), point.name, one.role) for one in series for point in one.points if point.name]
    parts: list[Markup] = []
    for place, height, name, role in named:
        shown = fitted(name, (x.end - x.start) / 2)
        boxes = list(_boxes(place, height, text_width(shown)))
        free = (box for box in boxes if box[0] >= 0 and box[2] <= WIDTH and not any(_overlap(box, other) for other in taken))
        box = next(free, boxes[0])
        taken.append(box)
        parts.append(text((box[0] + box[2]) / 2, (box[1] + box[3]) / 2, shown, "middle", f"name {role}"))
    return parts


def _boxes(place: float, height: float, width: float) -> Iterator[Box]:
    """Where a name may stand, the best first."""
    right, left, middle = place + REACH + 2, place - REACH - 2 - width, place - width / 2
    near = ((right, 0), (left, 0), (middle, -LABEL - 2), (middle, LABEL + 2))
    further = ((start, rows * LABEL) for rows in (1, -1, 2, -2, 3, -3) for start in (right, left))
    for start, off in (*near, *further):
        yield start, height + off - LABEL / 2, start + width, height + off + LABEL / 2


def _overlap(one: Box, other: Box) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]


def _legend(series: Sequence[Series]) -> list[Markup]:
    parts: list[Markup] = []
    place = float(LEFT)
    for one in series:
        if not one.name:
            continue
        if one.line:
            parts.append(line(place, 12, place + 20, 12, f"line {one.role}"))
        if one.marks or not one.line:
            parts.append(mark(place + 10, 12, one.role))
        parts.append(text(place + 26, 12, one.name, class_=f"name {one.role}"))
        place += 26 + text_width(one.name) + 18
    return parts
