"""SVG elements as markup. Whatever is put in, a caller's labels too, is escaped here and nowhere else."""

import unicodedata
from typing import Literal

from markupsafe import Markup, escape

Role = Literal["student", "teacher", "baseline"]
Anchor = Literal["start", "middle", "end"]
CHARACTER = 6.9
"""Mean width of a character at the font size of the charts (12 px), in units of the viewBox."""
_MARK = 4.5


def element(name: str, /, *children: str, **attributes: str | float | None) -> Markup:
    """`<name ...>children</name>`. `class_` is written as `class`, `stroke_width` as `stroke-width`; None leaves an attribute out.

    Children that are no `Markup` are escaped.
    """
    written = [f' {key.rstrip("_").replace("_", "-")}="{_value(value)}"' for key, value in attributes.items() if value is not None]
    inside = "".join(escape(child) for child in children)
    return Markup(f"<{name}{''.join(written)}>{inside}</{name}>" if inside else f"<{name}{''.join(written)}/>")


def drawing(width: float, height: float, description: str, *children: str) -> Markup:
    """A picture that scales with its box; screen readers hear the description in its place."""
    box = f"0 0 {number(width)} {number(height)}"
    names = {"role": "img", "aria_label": description}
    return element("svg", *children, class_="chart", viewBox=box, width=width, height=height, xmlns="http://www.w3.org/2000/svg", **names)


def text(x: float, y: float, content: str, anchor: Anchor = "start", class_: str | None = None) -> Markup:
    """`y`: of the middle of the letters, not of their base line."""
    return element("text", content, x=x, y=y, dy="0.35em", text_anchor=None if anchor == "start" else anchor, class_=class_)


def line(x1: float, y1: float, x2: float, y2: float, class_: str) -> Markup:
    return element("line", x1=x1, y1=y1, x2=x2, y2=y2, class_=class_)


def mark(x: float, y: float, role: Role) -> Markup:
    """A dot for the student, a diamond for the teacher, a ring for a baseline."""
    if role == "teacher":
        reach = _MARK * 1.2
        corners = [(x, y - reach), (x + reach, y), (x, y + reach), (x - reach, y)]
        return element("polygon", points=" ".join(f"{number(a)},{number(b)}" for a, b in corners), class_="mark teacher")
    return element("circle", cx=x, cy=y, r=_MARK if role == "student" else _MARK - 0.5, class_=f"mark {role}")


def hinted(hint: str, *children: str) -> Markup:
    """A group that tells its figures to whoever points at it."""
    return element("g", element("title", hint), *children)


def fitted(content: str, width: float) -> str:
    """The text, or as much of its beginning as has room; what is wider than Latin counts twice."""
    room = width / CHARACTER
    for place, character in enumerate(content):
        room -= _columns(character)
        if room < 0:
            return content[: max(place - 1, 1)].rstrip() + "\u2026"
    return content


def text_width(content: str) -> float:
    """In units of the viewBox, about."""
    return CHARACTER * sum(map(_columns, content))


def number(value: float) -> str:
    """With the decimals that can be seen."""
    return f"{value:.2f}".rstrip("0").rstrip(".") if isinstance(value, float) else str(value)


def _columns(character: str) -> int:
    return 0 if unicodedata.combining(character) else 2 if unicodedata.east_asian_width(character) in "WF" else 1


def _value(value: str | float) -> Markup:
    return escape(value if isinstance(value, str) else number(value))
