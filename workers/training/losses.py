"""The distillation loss (Hinton et al. 2015)."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F


@dataclass(frozen=True)
class DistilLoss:
    """`loss = alpha * kd_loss + (1 - alpha) * class_loss`, scalars; `kd_loss` already carries T^2."""

    loss: Tensor
    kd_loss: Tensor
    class_loss: Tensor


def distil_loss(logits: Tensor, soft: Tensor, hard: Tensor, temperature: float, alpha: float) -> DistilLoss:
    """Student `logits` (B, C) against teacher logits `soft` (B, C) and label indices `hard` (B,).

    T^2 keeps the gradient of the soft part on the same scale whatever the temperature (Hinton et al. 2015, section 2).
    """
    kd_loss = temperature**2 * F.kl_div(
        torch.log_softmax(logits / temperature, dim=-1),
        torch.log_softmax(soft / temperature, dim=-1),
        reduction="batchmean",
        log_target=True,
    )
    class_loss = F.cross_entropy(logits, hard)
    return DistilLoss(alpha * kd_loss + (1 - alpha) * class_loss, kd_loss, class_loss)
