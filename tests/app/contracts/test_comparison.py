"""The rule of the gate."""

import pytest

from app.contracts.comparison import Comparison


@pytest.mark.parametrize(
    ("won", "lost", "not_worse"),
    [(0, 0, True), (5, 2, True), (3, 3, True), (0, 1, True), (1, 3, True), (0, 2, False), (1, 4, False), (3, 10, False), (90, 103, True)],
)
def test_a_difference_within_one_standard_error_is_not_worse(won: int, lost: int, not_worse: bool) -> None:
    assert Comparison(champion=1, rows=200, won=won, lost=lost).not_worse is not_worse


def test_what_cannot_be_compared_is_not_worse() -> None:
    assert Comparison(champion=1, obstacle="they have no label in common").not_worse
    assert Comparison(champion=None).not_worse


def test_it_is_told_in_words() -> None:
    scored = Comparison(champion=3, rows=80, accuracy=0.8, champion_accuracy=0.9, won=1, lost=9)
    assert scored.told("triage") == "worse than triage:3: accuracy 80.0 % against 90.0 % on the same 80 held-out rows"
    assert Comparison(champion=3, obstacle="they have no label in common").told("triage") == (
        "not compared with triage:3: they have no label in common"
    )
    assert Comparison(champion=None).told("triage") == "there was no version of triage to compare with"
