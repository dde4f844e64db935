"""The pictures, read back as XML."""

import math
from itertools import combinations, pairwise
from xml.etree import ElementTree

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.web.charts import Axis, Bar, IntervalRow, Point, Series, bar_chart, interval_chart, plot
from app.web.charts.scales import Scale, around, linear_ticks, log_ticks
from app.web.charts.svg import fitted, text_width
from app.web.pictures import wilson

SVG = "{http://www.w3.org/2000/svg}"
HOSTILE = '<script>alert("&")</script>'
shares = st.floats(0, 1)
unhurried = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
"""Says nothing of how busy the machine is."""


def read(markup: str) -> ElementTree.Element:
    assert "style=" not in markup
    return ElementTree.fromstring(markup)


def found(picture: ElementTree.Element, tag: str, *classes: str) -> list[ElementTree.Element]:
    return [one for one in picture.iter(SVG + tag) if set(classes) <= set(one.get("class", "").split())]


def at(element: ElementTree.Element, name: str) -> float:
    return float(element.attrib[name])


def texts(picture: ElementTree.Element) -> list[str]:
    return [one.text or "" for one in picture.iter(SVG + "text")]


def per_cent(value: float) -> str:
    return f"{100 * value:g} %"


@unhurried
@given(shares, shares, st.integers(2, 12))
def test_ticks_are_round_evenly_spaced_and_few(one: float, other: float, most: int) -> None:
    low, high = min(one, other), max(one, other) + 0.01
    ticks = linear_ticks(low, high, most)
    assert 1 <= len(ticks) <= most
    assert all(low - 1e-6 <= tick <= high + 1e-6 for tick in ticks)
    steps = {round(later - earlier, 9) for earlier, later in pairwise(ticks)}
    assert len(steps) <= 1
    for step in steps:
        assert round(step / 10 ** math.floor(math.log10(step) + 1e-9), 6) in {1, 2, 2.5, 5}


@unhurried
@given(st.lists(shares, min_size=1))
def test_a_stretch_holds_its_values(values: list[float]) -> None:
    low, high = around(values)
    assert 0 <= low <= min(values) <= max(values) <= high <= 1
    assert high - low >= 0.049


@unhurried
@given(st.floats(1, 1e12), st.floats(2, 1e6))
def test_a_logarithmic_axis_has_ticks(low: float, times: float) -> None:
    ticks = log_ticks(low, low * times)
    assert ticks == sorted(set(ticks))
    assert all(low <= tick <= low * times for tick in ticks)
    if times >= 10:
        assert len(ticks) >= 3


def test_a_scale_keeps_to_its_ends() -> None:
    linear, log = Scale(0.5, 1, 10, 110), Scale(1, 100, 200, 0, log=True)
    assert [linear(value) for value in (0.5, 0.75, 1, 2, -1)] == pytest.approx([10, 60, 110, 110, 10])
    assert [log(value) for value in (1, 10, 100, 0)] == pytest.approx([200, 100, 0, 200])
    assert Scale(3, 3, 0, 10)(3) == 5


@unhurried
@given(st.lists(st.tuples(shares, shares, shares).map(sorted), min_size=1, max_size=8))
def test_dots_lie_in_their_intervals_and_in_order(rows: list[list[float]]) -> None:
    picture = read(
        interval_chart([IntervalRow(HOSTILE, "baseline", value, low, high) for low, value, high in rows], "accuracy", "Accuracy.")
    )
    assert picture.get("aria-label") == "Accuracy."
    dots = [at(dot, "cx") for dot in found(picture, "circle", "mark")]
    intervals = [line for line in found(picture, "line", "interval") if at(line, "y1") == at(line, "y2")]
    for dot, interval in zip(dots, intervals, strict=True):
        assert at(interval, "x1") - 0.01 <= dot <= at(interval, "x2") + 0.01
    for (place, one), (other_place, other) in combinations(zip(dots, rows, strict=True), 2):
        assert (place - other_place) * (one[1] - other[1]) >= -0.01


def test_bars_begin_at_zero_and_are_as_long_as_their_values() -> None:
    picture = read(bar_chart([Bar("card_arrival", 0.5, 0.8), Bar(HOSTILE, 1.0), Bar("x" * 300, 0.0)], "F1.", "the teacher"))
    bars = found(picture, "rect", "bar")
    assert len({at(bar, "x") for bar in bars}) == 1
    half, whole, none = (at(bar, "width") for bar in bars)
    assert (half, none) == (pytest.approx(whole / 2), 0)
    (stroke,) = found(picture, "line", "beside")
    assert at(stroke, "x1") == pytest.approx(at(bars[0], "x") + 0.8 * whole)
    hints = [title.text for title in picture.iter(SVG + "title")]
    assert hints == ["card_arrival: 50.0 %, the teacher 80.0 %", f"{HOSTILE}: 100.0 %", f"{'x' * 300}: 0.0 %"]
    assert any(shown.endswith("\u2026") and len(shown) < 30 for shown in texts(picture))


def test_a_line_goes_through_its_points() -> None:
    points = [Point(0, 0, "first", 0, 0.2), Point(0.5, 0.5, "middle"), Point(1, 1, "last")]
    axis = Axis("score", 0, 1, per_cent)
    picture = read(
        plot([Series("Student", "student", points), Series("Teacher", "teacher", points, line=False)], axis, axis, "All.", "even")
    )
    (line,) = (line for line in found(picture, "polyline", "student"))
    corners = [tuple(map(float, corner.split(","))) for corner in line.attrib["points"].split()]
    marks = [(at(mark, "cx"), at(mark, "cy")) for mark in found(picture, "circle", "mark", "student")]
    assert set(corners) < set(marks)  # and the legend has one
    assert corners[1] == pytest.approx(((corners[0][0] + corners[2][0]) / 2, (corners[0][1] + corners[2][1]) / 2))
    (diagonal,) = found(picture, "line", "diagonal")
    assert (at(diagonal, "x2"), at(diagonal, "y2")) == pytest.approx(corners[2])
    assert len(found(picture, "polygon", "mark", "teacher")) == 4
    assert {"Student", "Teacher", "score", "100 %"} <= set(texts(picture))


def test_names_cover_neither_marks_nor_each_other() -> None:
    places = {"Teacher": (9e7, 0.898), "Student": (1.5e6, 0.8725), "No generation": (1.5e6, 0.87), "Rows only": (1.5e6, 0.85)}
    places |= {"fp16": (2.6e6, 0.8725), "fp32": (4.8e6, 0.8735), "TF-IDF": (2.4e5, 0.805)}
    series = [Series("", "baseline", [Point(x, y, name, name=name)], line=False) for name, (x, y) in places.items()]
    picture = read(plot(series, Axis("bytes", 1e5, 2e8, str, log=True), Axis("accuracy", 0.8, 0.9, per_cent), "Sizes."))
    names = {one.text or "": one for one in found(picture, "text", "name")}
    assert names.keys() == places.keys()
    boxes = {}
    for name, one in names.items():
        half = text_width(name) / 2
        boxes[name] = (at(one, "x") - half, at(one, "y") - 6, at(one, "x") + half, at(one, "y") + 6)
        assert boxes[name][0] >= 0
        assert boxes[name][2] <= 340
    for (_, one), (_, other) in combinations(boxes.items(), 2):
        assert one[2] <= other[0] or other[2] <= one[0] or one[3] <= other[1] or other[3] <= one[1]
    for mark in found(picture, "circle", "mark"):
        x, y = at(mark, "cx"), at(mark, "cy")
        assert not [name for name, (left, top, right, bottom) in boxes.items() if left < x < right and top < y < bottom]


def test_a_long_name_is_cut_and_a_wide_one_sooner() -> None:
    assert fitted("card_arrival", 200) == "card_arrival"
    latin, wide = fitted("a" * 99, 100), fitted("\u6771" * 99, 100)
    assert latin.endswith("\u2026")
    assert len(wide) < len(latin)
    assert text_width(latin) <= 107
    assert text_width(wide) <= 107
    assert fitted("\u6771", 1) == "\u6771\u2026"


def test_wilsons_interval_is_that_of_the_paper() -> None:
    assert wilson(0.9, 10) == pytest.approx((0.596, 0.982), abs=1e-3)
    assert wilson(1.0, 20) == pytest.approx((0.839, 1.0), abs=1e-3)
    assert wilson(0.0, 20)[0] == 0
