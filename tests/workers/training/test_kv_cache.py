"""Slots that are taken, left and moved, against a plain list of rows."""

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from workers.training.kv_cache import SlotCache


def numbered(tokens: int, number: int) -> Tensor:
    return (torch.arange(2 * 4 * tokens * 3).float() + 1000.0 * number).view(2, 4, tokens, 3)


@settings(deadline=None)
@given(st.lists(st.one_of(st.tuples(st.just("add"), st.integers(1, 80)), st.tuples(st.just("remove"), st.integers(0, 5))), max_size=25))
def test_every_row_keeps_what_it_holds(changes: list[tuple[str, int]]) -> None:
    cache = SlotCache(layers=2, slots=6, kv_heads=2, head_dim=3, dtype=torch.float32, device=torch.device("cpu"))
    rows: list[Tensor] = []
    for number, (change, amount) in enumerate(changes):
        if change == "add" and len(rows) < 6:
            rows.append(numbered(amount, number))
            cache.add(rows[-1])
        elif change == "remove" and amount < len(rows):
            cache.remove(amount)
            last = rows.pop()
            if amount < len(rows):
                rows[amount] = last
        assert cache.rows == len(rows)
        assert cache.lengths[: cache.rows] == [row.shape[2] for row in rows]
        assert all(torch.equal(cache.prefix(place), row) for place, row in enumerate(rows))


def test_room_grows_with_the_longest_row_and_holds_no_nan() -> None:
    cache = SlotCache(1, 2, 1, 4, torch.float32, torch.device("cpu"))
    for tokens in (5, 40, 100):
        cache.reserve(tokens)
        assert tokens <= cache.data.shape[3] < tokens + 32
        assert torch.equal(cache.data, torch.zeros_like(cache.data))
