"""Which texts match, on real files."""

import random
from pathlib import Path
from typing import Any

import pytest

from app.jobs.text_index import IndexCache, Order, TextFilter, TextIndex
from tests.app.jobs.texts import Text, as_lines, text
from tests.waiting import together

TEXTS = [
    text("My card was stolen", a=0.9, b=0.1),
    text("", "empty", "b"),
    text("the STRASSE is long\u2028really", a=0.4, b=0.6),
    text("my card again", "near_duplicate"),
    text("Straße ahead", asked=None, b=0.9, a=0.1),
    text("ends here", "rejected", "b"),
]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    (tmp_path / "texts").write_bytes(as_lines(TEXTS))
    return tmp_path / "texts"


def ids(index: TextIndex, **wanted: Any) -> list[int]:
    return [row + 1 for row in index.matching(TextFilter(**wanted)).tolist()]


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        ({}, [1, 2, 3, 4, 5, 6]),
        ({"verdict": "kept"}, [1, 3, 5]),
        ({"verdict": "unheard of"}, []),
        ({"label": "a"}, [1, 4]),  # the teacher's answer, or of a dropped text what was asked for
        ({"label": "b"}, [2, 3, 5, 6]),
        ({"search": "MY CARD"}, [1, 4]),
        ({"search": "strasse"}, [3, 5]),
        ({"search": "straße"}, [3, 5]),
        ({"search": "really"}, [3]),
        ({"search": "stolenthe"}, []),  # across two texts
        ({"search": "e"}, [1, 3, 5, 6]),
        ({"search": "here"}, [6]),
        ({"search": "\ud800"}, []),
        ({"min_confidence": 0.9}, [1, 5]),
        ({"max_confidence": 0.6}, [3]),
        ({"min_confidence": 0.0}, [1, 3, 5]),
        ({"min_confidence": 0.7, "max_confidence": 0.6}, []),
        ({"order": "confidence"}, [3, 1, 5, 2, 4, 6]),
        ({"order": "-confidence"}, [1, 5, 3, 2, 4, 6]),
        ({"label": "b", "verdict": "kept", "search": "stra", "order": "-confidence"}, [5, 3]),
    ],
)
def test_a_filter_finds(wanted: dict[str, Any], found: list[int], path: Path) -> None:
    assert ids(TextIndex(path), **wanted) == found


def test_it_counts_verdicts_and_labels(path: Path) -> None:
    index = TextIndex(path)
    assert list(index.verdicts.items()) == [("kept", 3), ("empty", 1), ("near_duplicate", 1), ("rejected", 1)]
    assert list(index.labels.items()) == [("b", 4), ("a", 2)]
    assert index.ids_with("kept", "rejected") == {1, 3, 5, 6}


def test_a_file_without_texts(tmp_path: Path) -> None:
    (tmp_path / "texts").write_bytes(b"")
    index = TextIndex(tmp_path / "texts")
    assert (len(index), index.verdicts, index.labels, index.ids_with("kept")) == (0, {}, {}, set())
    assert ids(index, search="a", label="a", verdict="kept", min_confidence=0.1, order="confidence") == []


def test_lines_are_those_of_the_file(path: Path) -> None:
    index = TextIndex(path)
    rows = index.matching(TextFilter(order="-confidence"))
    assert list(index.lines(path, rows)) == [(number, as_lines([TEXTS[number - 1]])) for number in (1, 5, 3, 2, 4, 6)]


@pytest.mark.parametrize("order", ["id", "confidence", "-confidence"])
def test_pages_hold_each_text_once_in_any_order(order: Order, tmp_path: Path) -> None:
    rng = random.Random(1)
    texts: list[Text] = [text(str(n), a=rng.choice([0.5, 0.7, 0.9])) if n % 3 else text(str(n), "empty") for n in range(50)]
    (tmp_path / "texts").write_bytes(as_lines(texts))
    index = TextIndex(tmp_path / "texts")
    rows = index.matching(TextFilter(order=order))
    paged: list[int] = []
    while len(left := index.following(rows, order, paged[-1] if paged else 0)):
        paged += [row + 1 for row in left[:7].tolist()]
    assert paged == [row + 1 for row in rows.tolist()]
    assert sorted(paged) == list(range(1, 51))
    assert len(index.following(rows, order, 51)) == 0


def test_a_page_goes_on_after_a_text_that_does_not_match(path: Path) -> None:
    index = TextIndex(path)
    rows = index.matching(TextFilter(verdict="kept"))
    assert index.following(rows, "id", 2).tolist() == [2, 4]
    assert index.following(index.matching(TextFilter(label="b", order="-confidence")), "-confidence", 1).tolist() == [4, 2, 1, 5]


def test_a_file_is_read_once_and_the_least_recently_used_is_forgotten(path: Path) -> None:
    read: list[Path] = []
    size = TextIndex(path).bytes

    def reading(path: Path) -> TextIndex:
        read.append(path)
        return TextIndex(path)

    cache = IndexCache(2 * size, reading)
    together(*[lambda: cache.get("one", path)] * 4)
    assert len(read) == 1
    cache.get("two", path)
    cache.get("one", path)
    assert len(read) == 2
    cache.get("three", path)
    cache.get("one", path)
    assert len(read) == 3
    cache.get("two", path)
    assert len(read) == 4


def test_an_index_larger_than_the_cache_is_kept_while_it_is_the_last(path: Path) -> None:
    cache = IndexCache(1)
    assert cache.get("one", path) is cache.get("one", path)
