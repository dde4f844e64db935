"""Which pieces of the teacher's tokenizer get a row of the student's table."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

_LEAST_DIMENSIONS = 32
_TABLE_SHARE = 0.92


@dataclass(frozen=True)
class Vocabulary:
    """`pieces`: ids of the tokenizer that have a row, in the order of the rows. `rows` (V,): id -> row, or None if they are the same."""

    pieces: list[int]
    rows: Tensor | None
    pad_id: int


def room_within(max_parameters: int) -> int:
    """Pieces that can have a row of enough dimensions each."""
    return int(max_parameters * _TABLE_SHARE) // _LEAST_DIMENSIONS


def choose_vocabulary(
    size: int, pad_id: int, unknown_id: int, texts: Iterable[list[int]], max_parameters: int, room: int | None = None
) -> Vocabulary:
    """All pieces, where they fit with enough dimensions each, or into `room` rows; otherwise the most frequent in `texts`, then those with
    the lowest ids.

    Subword tokenizers number their pieces by merge order or frequency, so a low id is a common piece. Pieces without a row share that of
    `unknown_id`.
    """
    room = room_within(max_parameters) if room is None else room
    if size <= room:
        return Vocabulary(list(range(size)), None, pad_id)
    counts = Counter(piece for text in texts for piece in text)
    order = sorted(range(size), key=lambda piece: (-counts[piece], piece))
    pieces = sorted({pad_id, unknown_id, *order[: room - 2]})
    rows = torch.full((size,), pieces.index(unknown_id), dtype=torch.int64)
    rows[torch.tensor(pieces)] = torch.arange(len(pieces))
    return Vocabulary(pieces, rows, pad_id)
