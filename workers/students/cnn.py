"""Convolutions over embeddings with max-over-time pooling (Kim 2014), beside the mean of the embeddings."""

import torch
from torch import Tensor, nn

from workers.students.base import StudentArchitecture

_WIDTHS = (2, 3, 4)
_CHANNELS = 64


class CnnHead(nn.Module):
    """The mean gives a text's topic even where no n-gram of it was seen in training; the convolutions add order."""

    def __init__(self, dimensions: int, classes: int, dropout: float) -> None:
        super().__init__()
        self.filters = nn.ModuleList(nn.Linear(width * dimensions, _CHANNELS) for width in _WIDTHS)
        self.norm = nn.LayerNorm(dimensions)
        self.dropout = nn.Dropout(dropout)
        self.out = nn.Linear(_CHANNELS * len(_WIDTHS) + dimensions, classes)

    def forward(self, vectors: Tensor, mask: Tensor) -> Tensor:
        mask = mask.unsqueeze(-1)
        vectors = vectors * mask
        mean = self.norm(vectors.sum(1) / mask.sum(1).clamp(min=1))
        pooled = [torch.relu(linear(ngrams(vectors, width))).amax(1) for width, linear in zip(_WIDTHS, self.filters, strict=True)]
        logits: Tensor = self.out(self.dropout(torch.cat([*pooled, mean], dim=-1)))
        return logits


def ngrams(vectors: Tensor, width: int) -> Tensor:
    """(B, T, D) -> (B, T + width + 1, width * D): the windows of a convolution, whose matrix product is twice as fast on a CPU as Conv1d.

    With `width` zeros on both sides each text has a window of zeros alone, so more padding in its batch adds nothing new.
    """
    padded = nn.functional.pad(vectors, (0, 0, width, width))
    windows = padded.shape[1] - width + 1
    return torch.cat([padded[:, start : start + windows] for start in range(width)], dim=-1)


ARCHITECTURE = StudentArchitecture("cnn", CnnHead)
