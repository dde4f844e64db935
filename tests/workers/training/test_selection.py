"""The one-standard-error rule."""

from workers.training.selection import OneStandardError


def kept(accuracies: list[float], rows: int) -> list[bool]:
    selection = OneStandardError(rows)
    return [selection.keeps(epoch, accuracy) for epoch, accuracy in enumerate(accuracies, 1)]


def test_the_latest_epoch_within_one_standard_error_is_kept() -> None:
    selection = OneStandardError(100)  # the standard error of 0.8 over 100 rows is 0.04
    decisions = [selection.keeps(epoch, accuracy) for epoch, accuracy in enumerate([0.5, 0.8, 0.77, 0.75, 0.765, 0.7], 1)]
    assert decisions == [True, True, True, False, True, False]
    assert selection.kept_epoch == 5


def test_a_better_epoch_raises_the_bar() -> None:
    assert kept([0.5, 0.46, 0.9, 0.46], 100) == [True, True, True, False]


def test_more_rows_tell_closer_epochs_apart() -> None:
    assert kept([0.8, 0.77], 100) == [True, True]
    assert kept([0.8, 0.77], 10_000) == [True, False]


def test_the_first_epoch_is_always_kept() -> None:
    assert kept([0.0], 5) == [True]
    assert kept([1.0, 1.0, 0.99], 5) == [True, True, False]
