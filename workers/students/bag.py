"""Attention-weighted bag of embeddings: no order, no convolution, the fastest."""

import torch
from torch import Tensor, nn

from workers.students.base import StudentArchitecture

_HIDDEN = 128


class BagHead(nn.Module):
    """The last column of the vectors is the piece's attention weight; the rest is averaged by it."""

    def __init__(self, dimensions: int, classes: int, dropout: float) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(dimensions)
        self.hidden = nn.Linear(dimensions, _HIDDEN)
        self.dropout = nn.Dropout(dropout)
        self.out = nn.Linear(_HIDDEN, classes)

    def forward(self, vectors: Tensor, mask: Tensor) -> Tensor:
        weights = torch.softmax(vectors[..., -1] + (mask - 1) * 1e4, dim=-1)
        # As a matrix product, also of the column that is then left out: in ONNX half the cost of weighing the others and summing up.
        pooled = (weights.unsqueeze(1) @ vectors).squeeze(1)[..., :-1]
        logits: Tensor = self.out(self.dropout(torch.relu(self.hidden(self.norm(pooled)))))
        return logits


ARCHITECTURE = StudentArchitecture("bag", BagHead, weighted=True)
