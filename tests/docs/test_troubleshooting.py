"""The page has every type of error that the code can name, and no other."""

import re

from tests.docs.blocks import ROOT
from tests.docs.error_types import PREFIX, error_types

PAGE = ROOT / "docs" / "troubleshooting.md"
_TYPE = re.compile(r"`([a-z0-9]+(?:-[a-z0-9]+)*)`")
_REFUSED = re.compile(r"""(?:refused\([^\n]*?, \d{3}, |""" + PREFIX + r""")["']?([a-z0-9]+(?:-[a-z0-9]+)+)""")


def listed() -> set[str]:
    """From the first column of its tables."""
    rows = [line.split("|")[1] for line in PAGE.read_text().splitlines() if line.startswith("| ")]
    return {name for row in rows for name in _TYPE.findall(row)}


def test_every_type_that_the_code_names_is_explained() -> None:
    found = error_types()
    assert {name: place for name, place in found.items() if name not in listed()} == {}


def test_no_type_is_explained_that_the_code_does_not_name() -> None:
    assert listed() - set(error_types()) == set()


def test_the_types_that_tests_have_seen_are_among_those_found_in_the_code() -> None:
    """Were one of them not found, the code would name it in a way that is not looked for."""
    seen = {name for path in (ROOT / "tests" / "app").rglob("*.py") for name in _REFUSED.findall(path.read_text())}
    assert len(seen) > 20
    assert seen - set(error_types()) == set()
