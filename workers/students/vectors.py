"""Vectors for the tokenizer's pieces, from the teacher (the idea of Model2Vec, Tulkens and van Dongen 2024)."""

from collections.abc import Callable

import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from workers.training.batching import micro_batches
from workers.training.encoder import Teacher

_BATCH = 2048
_COMPONENTS = 256
_SCALED_BY = 32


@torch.inference_mode()
def piece_vectors(
    teacher: Teacher,
    tokenizer: PreTrainedTokenizerBase,
    pieces: list[int],
    device: torch.device,
    check: Callable[[], None],
    shrink: int = 1,
) -> Tensor:
    """(V, K): two views of each piece side by side, each reduced by PCA, leading components first, about unit variance.

    First the piece alone through the encoder, mean-pooled, which says what a text of it would be about; then its row of the encoder's own
    table, which also tells the function words from each other.
    """
    special: list[int] = tokenizer("")["input_ids"]
    before, after = special[: len(special) // 2], special[len(special) // 2 :]
    teacher.to(device).eval()
    parts = []
    for batch in micro_batches(pieces, _BATCH, shrink):
        check()
        ids = torch.tensor([[*before, piece, *after] for piece in batch], device=device)
        parts.append(teacher.pooled(ids, torch.ones_like(ids)).float().cpu())
    table = teacher.word_embeddings().detach().float().cpu()[torch.tensor(pieces)]
    return torch.cat([_principal(torch.cat(parts)), _principal(table)], dim=1)


def vector_width(teacher: Teacher) -> int:
    """K of the `piece_vectors`."""
    table = teacher.word_embeddings()
    return sum(min(_COMPONENTS, width) for width in (teacher.head.in_features, table.shape[1]))


def _principal(vectors: Tensor) -> Tensor:
    """(V, H) -> (V, K), K at most 256."""
    vectors = vectors - vectors.mean(0)
    _, directions = torch.linalg.eigh(vectors.T @ vectors / len(vectors))  # eigenvalues ascend
    reduced = vectors @ directions.flip(1)[:, :_COMPONENTS]
    scaled: Tensor = reduced / reduced[:, :_SCALED_BY].std()
    return scaled
