"""How the tests read a page."""

import re
from html.parser import HTMLParser
from typing import Any

from starlette.testclient import TestClient

VOID = {"area", "br", "col", "hr", "img", "input", "link", "meta", "source", "wbr"}


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.texts: list[str] = []
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open, f"</{tag}> ends nothing"
        assert self.open.pop() == tag, f"</{tag}> ends something else"

    def handle_data(self, data: str) -> None:
        if not {"script", "style"} & set(self.open):
            self.texts.append(data)


class Page:
    """What a reader sees: `text` with its white space folded, and the elements with their attributes."""

    def __init__(self, markup: str) -> None:
        reader = _Reader()
        reader.feed(markup)
        reader.close()
        # SVG's elements may end themselves, which the reader tells by a start and an end.
        assert reader.open == []
        self.text = re.sub(r"\s+", " ", " ".join(reader.texts)).strip()
        self.elements = reader.elements

    def all(self, tag: str, **wanted: str) -> list[dict[str, str]]:
        """Attributes of the elements with these attributes; `class_` for class, `data_x` for data-x."""
        names = {name.rstrip("_").replace("_", "-"): value for name, value in wanted.items()}
        return [found for kind, found in self.elements if kind == tag and names.items() <= found.items()]

    def links(self) -> list[str]:
        return [found["href"] for found in self.all("a")]


def get(api: TestClient, path: str, expected: int = 200, /, **params: Any) -> Page:
    """A page, which is HTML whatever its status, and may run nothing but the service's own files."""
    answer = api.get(path, params=params or None)
    assert answer.status_code == expected, answer.text
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert answer.headers["content-security-policy"].startswith("default-src 'self'; ")
    assert answer.headers["x-content-type-options"] == "nosniff"
    found = Page(answer.text)
    for tag, attributes in found.elements:
        assert "style" not in attributes, (tag, attributes)
        assert not [name for name in attributes if name.startswith("on")], (tag, attributes)
        for name in ("src", "href", "action"):
            assert attributes.get(name, "/").startswith(("/", "#")), (tag, attributes)
    return found
