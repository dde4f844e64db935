"""The classification head's start: logistic regression on the frozen encoder's embeddings."""

import torch
from sklearn.linear_model import LogisticRegression
from torch import Tensor

_INVERSE_PENALTY = 10.0


def linear_probe(features: Tensor, targets: Tensor, classes: int) -> tuple[Tensor, Tensor]:
    """Features (N, H), targets (N,) with every class present -> weight (C, H) and bias (C,) for the features as they are.

    Finetuning that starts from a probe bends the pretrained features less than one that starts from a random head (Kumar et al. 2022).
    """
    scale = float(features.norm(dim=-1).mean().clamp(min=1e-6))  # so that the penalty means the same for every encoder
    model = LogisticRegression(C=_INVERSE_PENALTY, max_iter=1000, class_weight="balanced")
    model.fit((features / scale).numpy(), targets.numpy())
    weight, bias = (torch.from_numpy(values).float() for values in (model.coef_, model.intercept_))
    if classes == 2:  # scikit-learn has one row of weights for two classes: that of their difference
        weight, bias = torch.cat([-weight, weight]) / 2, torch.cat([-bias, bias]) / 2
    return weight / scale, bias
