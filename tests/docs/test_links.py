"""The documentation's links lead somewhere: to files that are there, and to headings of theirs."""

import re
from pathlib import Path

import pytest

from tests.docs.blocks import ROOT, name_of, pages

_LINK = re.compile(r"(?<!!)\[[^\]]+\]\(([^)\s]+)\)")
_HEADING = re.compile(r"(?m)^#{1,6} (.+)$")
_FENCED = re.compile(r"(?ms)^```.*?^```$")


def anchors(page: Path) -> set[str]:
    """As GitHub makes them of headings."""
    headings = _HEADING.findall(_FENCED.sub("", page.read_text()))
    return {re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-") for heading in headings}


def links(page: Path) -> list[str]:
    return [link for link in _LINK.findall(_FENCED.sub("", page.read_text())) if not link.startswith(("http://", "https://", "mailto:"))]


@pytest.mark.parametrize("page", pages(), ids=name_of)
def test_links_lead_somewhere(page: Path) -> None:
    for link in links(page):
        name, _, anchor = link.partition("#")
        target = (page.parent / name).resolve() if name else page
        assert target.exists(), f"{name_of(page)}: {link} is not there"
        assert ROOT in target.parents, f"{name_of(page)}: {link} leaves the repository"
        if anchor:
            assert anchor in anchors(target), f"{name_of(page)}: {name_of(target)} has no heading #{anchor}"


def test_no_page_of_the_documentation_is_lost() -> None:
    """From the README, by links, every page can be reached."""
    reached: set[Path] = set()
    waiting = [ROOT / "README.md"]
    while waiting:
        page = waiting.pop()
        if page in reached or page.suffix != ".md":
            continue
        reached.add(page)
        for link in links(page):
            target = (page.parent / link.partition("#")[0]).resolve()
            # A folder's pages are those that a reader finds in it.
            waiting += sorted(target.glob("*.md")) if target.is_dir() else [target]
    assert {name_of(page) for page in pages()} - {name_of(page) for page in reached} == set()
