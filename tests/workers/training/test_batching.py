"""Batches: every text once, little padding, the same with the same seed."""

import random

import torch
from hypothesis import given
from hypothesis import strategies as st

from workers.training.batching import length_sorted_batches, pad, shuffled_batches

LENGTHS = st.lists(st.integers(0, 50), min_size=1, max_size=300)


@given(lengths=LENGTHS, size=st.integers(1, 20), seed=st.integers(0, 99))
def test_an_epoch_has_every_text_once(lengths: list[int], size: int, seed: int) -> None:
    for batches in (list(shuffled_batches(lengths, size, random.Random(seed))), list(length_sorted_batches(lengths, size))):
        assert sorted(index for batch in batches for index in batch) == list(range(len(lengths)))
        assert all(1 <= len(batch) <= size for batch in batches)
        assert len(batches) == -(-len(lengths) // size)


def test_batches_differ_by_epoch_and_repeat_with_the_seed() -> None:
    lengths = [index % 9 for index in range(100)]
    rng = random.Random(3)
    first, second = list(shuffled_batches(lengths, 8, rng)), list(shuffled_batches(lengths, 8, rng))
    assert first != second
    again = random.Random(3)
    assert [list(shuffled_batches(lengths, 8, again)), list(shuffled_batches(lengths, 8, again))] == [first, second]


def test_texts_of_like_length_share_a_batch() -> None:
    lengths = random.Random(0).choices(range(1, 101), k=320)
    spread = [max(lengths[i] for i in batch) - min(lengths[i] for i in batch) for batch in shuffled_batches(lengths, 20, random.Random(1))]
    assert max(spread) < 25


def test_the_longest_come_first() -> None:
    lengths = [3, 9, 1, 7]
    assert list(length_sorted_batches(lengths, 2)) == [[1, 3], [0, 2]]


@given(rows=st.lists(st.lists(st.integers(1, 9), max_size=12), min_size=1, max_size=8))
def test_padding_is_on_the_right(rows: list[list[int]]) -> None:
    padded = pad(rows, 0)
    assert padded.dtype == torch.int64
    assert padded.shape == (len(rows), max(1, max(map(len, rows))))
    for row, line in zip(rows, padded.tolist(), strict=True):
        assert line == row + [0] * (padded.shape[1] - len(row))
