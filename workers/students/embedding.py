"""The student's embedding table: made from the teacher, trained folded, shipped plain."""

import torch
from torch import Tensor, nn


class FoldedEmbedding(nn.Module):
    """`forward`: ids (B, T) -> (B, T, D).

    The teacher's vectors (V, K) stay fixed; one shared linear map to D dimensions and a small free correction a piece are learned. So
    the pieces that training never saw move along with the rest. `fold` multiplies out to the plain (V, D) table that is shipped.
    """

    base: Tensor

    def __init__(self, base: Tensor, dimensions: int, weighted: bool) -> None:
        super().__init__()
        self.register_buffer("base", base, persistent=False)
        self.project = nn.Linear(base.shape[1], dimensions + weighted, bias=False)
        self.correction = nn.Parameter(torch.zeros(base.shape[0], dimensions + weighted))
        with torch.no_grad():  # the leading principal components: the best D-dimensional view of the teacher's vectors to start from
            self.project.weight.zero_()
            width = min(dimensions, base.shape[1])
            self.project.weight[:width, :width] = torch.eye(width)

    @property
    def width(self) -> int:
        """Columns of the table, the attention weight's among them."""
        return self.correction.shape[1]

    def forward(self, ids: Tensor) -> Tensor:
        vectors: Tensor = self.project(self.base[ids]) + nn.functional.embedding(ids, self.correction)
        return vectors

    def fold(self) -> Tensor:
        """(V, D) in values that half precision holds exactly, so that what is evaluated is what is shipped."""
        with torch.no_grad():
            table: Tensor = self.project(self.base) + self.correction
            return table.half().float()


class PlainEmbedding(nn.Module):
    """`forward`: ids (B, T) -> (B, T, D), from a half-precision table: two bytes a value on disk, one cast after the lookup."""

    def __init__(self, table: Tensor) -> None:
        super().__init__()
        self.table = nn.Parameter(table.half(), requires_grad=False)

    @property
    def width(self) -> int:
        return self.table.shape[1]

    def forward(self, ids: Tensor) -> Tensor:
        return nn.functional.embedding(ids, self.table).float()
