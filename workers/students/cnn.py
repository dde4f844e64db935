"""Convolutions over embeddings with max-over-time pooling (Kim 2014), beside the mean of the embeddings."""

from functools import reduce

import torch
from torch import Tensor, nn

from workers.students.base import StudentArchitecture

_WIDTHS = (2, 3, 4)
_CHANNELS = 64


class CnnHead(nn.Module):
    """The mean gives a text's topic even where no n-gram of it was seen in training; the convolutions add order."""

    def __init__(self, dimensions: int, classes: int, dropout: float) -> None:
        super().__init__()
        self.dimensions = dimensions  # not read off a tensor, so that the exported graph knows it
        self.filters = nn.ModuleList(nn.Linear(width * dimensions, _CHANNELS) for width in _WIDTHS)
        self.norm = nn.LayerNorm(dimensions)
        self.dropout = nn.Dropout(dropout)
        self.out = nn.Linear(_CHANNELS * len(_WIDTHS) + dimensions, classes)

    def forward(self, vectors: Tensor, mask: Tensor) -> Tensor:
        mask = mask.unsqueeze(-1)
        vectors = vectors * mask
        mean = self.norm(vectors.sum(1) / mask.sum(1).clamp(min=1))
        kernel = self.kernel()
        tops = [(part @ kernel).amax(1) for part in windows(vectors, max(_WIDTHS), self.dimensions)]
        top = reduce(torch.maximum, tops) + self.biases()
        logits: Tensor = self.out(self.dropout(torch.cat([torch.relu(top), mean], dim=-1)))
        return logits

    def biases(self) -> Tensor:
        """(channels of all filters,)"""
        return torch.cat([linear.get_parameter("bias") for linear in self.filters])

    def kernel(self) -> Tensor:
        """(width * D, channels of all filters): the narrower ones have zeros where the widest reads on."""
        missing = [(max(_WIDTHS) - width) * self.dimensions for width in _WIDTHS]
        weights = [linear.get_parameter("weight") for linear in self.filters]
        return torch.cat([nn.functional.pad(weight, (0, zeros)) for weight, zeros in zip(weights, missing, strict=True)]).T


def windows(vectors: Tensor, width: int, dimensions: int) -> list[Tensor]:
    """(B, T, D) -> `width` times (B, N, width * D): together all windows of a convolution, each of which starts at another place.

    Windows side by side are a view of the vectors. So nothing is laid out anew but the shift, and on a CPU the matrix products take half
    the time of Conv1d or of copied n-grams. With zeros on both sides each text has a window of zeros alone, so more padding in its batch
    adds nothing new.
    """
    texts, tokens = vectors.shape[:2]
    count = (tokens + 2 * width - 1) // width
    padded = nn.functional.pad(vectors, (0, 0, width, 2 * width - 1))
    return [padded[:, start : start + count * width].reshape(texts, count, width * dimensions) for start in range(width)]


ARCHITECTURE = StudentArchitecture("cnn", CnnHead)
