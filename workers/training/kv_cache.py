"""Keys and values of many rows that start and end at different times."""

import torch
from torch import Tensor

_BLOCK = 32


class SlotCache:
    """One slot a row, of its own length; the live rows are the first `rows` slots, so that a step reads views and gathers nothing.

    `data`: (layers, slots, 2 * kv_heads, tokens, head_dim), the keys' heads before the values'. The token axis grows in blocks as the
    longest row does. Starts as zeros: what lies past a row's end is masked, which NaN would survive.
    """

    def __init__(self, layers: int, slots: int, kv_heads: int, head_dim: int, dtype: torch.dtype, device: torch.device) -> None:
        self.data = torch.zeros((layers, slots, 2 * kv_heads, _BLOCK, head_dim), dtype=dtype, device=device)
        self.lengths = [0] * slots
        self.rows = 0

    def add(self, prefix: Tensor) -> None:
        """A new last row that starts with `prefix` (layers, 2 * kv_heads, tokens, head_dim)."""
        tokens = prefix.shape[2]
        self.reserve(tokens)
        self.data[:, self.rows, :, :tokens] = prefix
        self.lengths[self.rows] = tokens
        self.rows += 1

    def remove(self, row: int) -> None:
        """`row` has ended; the last row moves into its slot."""
        self.rows -= 1
        if row != self.rows:
            tokens = self.lengths[self.rows]
            self.data[:, row, :, :tokens] = self.data[:, self.rows, :, :tokens]
            self.lengths[row] = tokens

    def prefix(self, row: int) -> Tensor:
        """A copy of what the row holds: (layers, 2 * kv_heads, tokens, head_dim)."""
        return self.data[:, row, :, : self.lengths[row]].clone()

    def reserve(self, tokens: int) -> None:
        """Makes room for rows of `tokens` tokens."""
        have = self.data.shape[3]
        if tokens > have:
            layers, slots, heads, _, head_dim = self.data.shape
            grown = self.data.new_zeros((layers, slots, heads, -(-tokens // _BLOCK) * _BLOCK, head_dim))
            grown[:, :, :, :have] = self.data
            self.data = grown
