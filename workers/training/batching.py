"""Batches of token ids, padded to the longest of the batch."""

import random
from collections.abc import Iterator, Sequence
from typing import TypeVar

import torch
from torch import Tensor

Row = TypeVar("Row")


def pad(rows: Sequence[Sequence[int]], pad_id: int) -> Tensor:
    """(B, T) int64, padded on the right."""
    width = max(1, max(len(row) for row in rows))
    padded = torch.full((len(rows), width), pad_id, dtype=torch.int64)
    for position, row in enumerate(rows):
        padded[position, : len(row)] = torch.tensor(row, dtype=torch.int64)
    return padded


def shuffled_batches(lengths: Sequence[int], batch_size: int, rng: random.Random) -> Iterator[list[int]]:
    """Indices of one epoch in random order, texts of like length together so that little is padding."""
    order = list(range(len(lengths)))
    rng.shuffle(order)
    pool = batch_size * 16
    batches: list[list[int]] = []
    for start in range(0, len(order), pool):
        chunk = sorted(order[start : start + pool], key=lambda index: lengths[index])
        batches += [chunk[at : at + batch_size] for at in range(0, len(chunk), batch_size)]
    rng.shuffle(batches)
    yield from batches


def length_sorted_batches(lengths: Sequence[int], batch_size: int) -> Iterator[list[int]]:
    """All indices once, longest first: an out-of-memory shows at once, and little is padding."""
    order = sorted(range(len(lengths)), key=lambda index: -lengths[index])
    for start in range(0, len(order), batch_size):
        yield order[start : start + batch_size]


def micro_batches(batch: list[Row], batch_size: int, shrink: int) -> Iterator[list[Row]]:
    """A batch in parts that need a `shrink`th of the memory: at most `batch_size // shrink` rows each, and at least one."""
    size = max(1, batch_size // shrink)
    for start in range(0, len(batch), size):
        yield batch[start : start + size]
