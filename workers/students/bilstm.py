"""Bidirectional LSTM with max-over-time pooling (Conneau et al. 2017)."""

import torch
from torch import Tensor, nn

from workers.students.base import StudentArchitecture

_HIDDEN = 64


class BilstmHead(nn.Module):
    """Two one-directional LSTMs; the second reads the text, not its padding, backwards, so that padding never changes an answer."""

    def __init__(self, dimensions: int, classes: int, dropout: float) -> None:
        super().__init__()
        self.forwards = nn.LSTM(dimensions, _HIDDEN, batch_first=True)
        self.backwards = nn.LSTM(dimensions, _HIDDEN, batch_first=True)
        self.dropout = nn.Dropout(dropout)
        self.out = nn.Linear(2 * _HIDDEN, classes)

    def forward(self, vectors: Tensor, mask: Tensor) -> Tensor:
        positions = mask.cumsum(1) - 1
        mirrored = (mask.sum(1, keepdim=True) - 1 - positions).clamp(min=0).long().unsqueeze(-1)
        reversed_vectors = vectors.gather(1, mirrored.expand_as(vectors))
        outside = (mask.unsqueeze(-1) - 1) * 1e4
        pooled = [(lstm(part)[0] + outside).amax(1) for lstm, part in ((self.forwards, vectors), (self.backwards, reversed_vectors))]
        # A text without pieces has no position to pool from: zeros stand in.
        logits: Tensor = self.out(self.dropout(torch.cat(pooled, dim=-1) * mask.amax(1, keepdim=True)))
        return logits


ARCHITECTURE = StudentArchitecture("bilstm", BilstmHead)
