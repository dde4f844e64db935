"""Vectors for the tokenizer's pieces, from the teacher (the idea of Model2Vec, Tulkens and van Dongen 2024)."""

from collections.abc import Callable

import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from workers.training.encoder import Teacher

_BATCH = 2048
_COMPONENTS = 256


@torch.inference_mode()
def piece_vectors(
    teacher: Teacher, tokenizer: PreTrainedTokenizerBase, pieces: list[int], device: torch.device, check: Callable[[], None]
) -> Tensor:
    """Each piece alone through the encoder, mean-pooled, reduced by PCA: (V, K), leading components first, about unit variance."""
    special: list[int] = tokenizer("")["input_ids"]
    before, after = special[: len(special) // 2], special[len(special) // 2 :]
    teacher.to(device).eval()
    parts = []
    for start in range(0, len(pieces), _BATCH):
        check()
        ids = torch.tensor([[*before, piece, *after] for piece in pieces[start : start + _BATCH]], device=device)
        parts.append(teacher.pooled(ids, torch.ones_like(ids)).float().cpu())
    vectors = torch.cat(parts)
    vectors = vectors - vectors.mean(0)
    _, directions = torch.linalg.eigh(vectors.T @ vectors / len(vectors))  # eigenvalues ascend
    reduced = vectors @ directions.flip(1)[:, :_COMPONENTS]
    scaled: Tensor = reduced / reduced[:, :32].std()
    return scaled
