"""Supervised contrastive loss (Khosla et al. 2020, equation 2)."""

import torch
from torch import Tensor
from torch.nn import functional as F


def supervised_contrastive_loss(embeddings: Tensor, targets: Tensor, temperature: float) -> Tensor:
    """Scalar: embeddings (N, H) of one class are drawn together, those of others apart, in cosine similarity; `targets` (N,).

    With two views of each text (dropout draws anew in each pass, Gao et al. 2021), every row has a positive, however few its class has.
    """
    normal = F.normalize(embeddings.float(), dim=-1)
    own = torch.eye(len(normal), dtype=torch.bool, device=normal.device)
    similarity = (normal @ normal.T / temperature).masked_fill(own, -torch.inf)
    positive = (targets.unsqueeze(1) == targets) & ~own
    log_probability = (similarity - similarity.logsumexp(-1, keepdim=True)).masked_fill(~positive, 0.0)
    return -(log_probability.sum(-1) / positive.sum(-1).clamp(min=1)).mean()
