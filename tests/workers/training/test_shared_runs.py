"""The longest run of words in common with a row, against a search of every pair of places."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workers.training.shared_runs import SharedRuns, words

TEXTS = st.lists(st.sampled_from(["a", "b", "c"]), max_size=9).map(" ".join)


def searched(rows: list[str], text: str) -> int:
    longest = 0
    for row in rows:
        for left, right in itertools.product(range(len(words(text))), range(len(words(row)))):
            pairs = zip(words(text)[left:], words(row)[right:], strict=False)
            longest = max(longest, sum(1 for _ in itertools.takewhile(lambda pair: pair[0] == pair[1], pairs)))
    return longest


@given(rows=st.lists(TEXTS, max_size=5), text=TEXTS, above=st.integers(0, 10))
def test_the_longest_run_is_found(rows: list[str], text: str, above: int) -> None:
    runs, expected = SharedRuns(rows), searched(rows, text)
    assert runs.longest(text) == expected
    assert runs.longest(text, above) == max(above, expected)
    assert [runs.has(text, length) for length in range(1, 12)] == [length <= expected for length in range(1, 12)]


def test_no_run_reaches_over_the_end_of_a_row() -> None:
    runs = SharedRuns(["my card was", "stolen in Lisbon"])
    assert runs.longest("my card was stolen in Lisbon") == 3


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("Don't panic: E-Mail #42!", ["don", "t", "panic", "e", "mail", "42"]),
        ("STRASSE straße", ["strasse", "strasse"]),
        ("卡片丢失 now", ["卡", "片", "丢", "失", "now"]),
        ("snake_case", ["snake", "case"]),
        ("?! \u2028", []),
    ],
)
def test_words_are_told_by_letters_and_digits_alone(text: str, found: list[str]) -> None:
    assert words(text) == found


def test_a_script_without_spaces_has_runs_too() -> None:
    assert SharedRuns(["我的银行卡昨天在里斯本被偷了"]).longest("你好 我的银行卡昨天丢了") == 7


def test_many_rows_cost_an_array_a_length_and_no_more() -> None:
    rows = [f"row {number} of many with the same words at its end" for number in range(2000)]
    runs = SharedRuns(rows)
    assert runs.longest("row 7 of many with the same words at its end") == 11
    assert runs.longest("another row of many with the same words at its end") == 9
