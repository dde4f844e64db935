"""The head's start says what logistic regression says."""

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression

from workers.training.probe import linear_probe


def sample(classes: int, scale: float, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Overlapping clouds, one a class, with three times as many rows of the first."""
    rng = torch.Generator().manual_seed(seed)
    targets = torch.cat([torch.zeros(60), torch.arange(20 * classes) % classes]).long()
    centres = torch.randn(classes, 6, generator=rng)
    return scale * (centres[targets] + 2 * torch.randn(len(targets), 6, generator=rng)), targets


def reference(features: torch.Tensor, targets: torch.Tensor) -> LogisticRegression:
    """On the raw features: dividing them by their mean length is a penalty that is weaker by its square."""
    length = features.norm(dim=-1).mean().item()
    model = LogisticRegression(C=10 / length**2, max_iter=10_000, tol=1e-8, class_weight="balanced")
    return model.fit(features.double().numpy(), targets.numpy())


@pytest.mark.parametrize("scale", [0.05, 1.0, 20.0])
@pytest.mark.parametrize("classes", [2, 3, 7])
def test_it_decides_as_logistic_regression_on_the_raw_features(classes: int, scale: float) -> None:
    features, targets = sample(classes, scale)
    weight, bias = linear_probe(features, targets, classes)
    assert (weight.shape, bias.shape) == ((classes, 6), (classes,))
    assert weight.dtype == bias.dtype == torch.float32
    logits = (features @ weight.T + bias).double().numpy()
    model = reference(features, targets)
    wanted = model.decision_function(features.double().numpy())
    found = logits[:, 1] - logits[:, 0] if classes == 2 else logits - logits.mean(1, keepdims=True)
    assert np.abs(found - wanted).max() < 0.005 * np.abs(wanted).max()  # the solver stops near the optimum
    probabilities = torch.from_numpy(logits).softmax(-1).numpy()
    assert np.abs(probabilities - model.predict_proba(features.double().numpy())).max() < 5e-3


def test_rare_classes_count_as_much_as_frequent_ones() -> None:
    features, targets = sample(3, 1.0)
    weight, bias = linear_probe(features, targets, 3)
    answers = (features @ weight.T + bias).argmax(-1)
    unbalanced = LogisticRegression(C=10 / features.norm(dim=-1).mean().item() ** 2).fit(features.numpy(), targets.numpy())
    assert (answers == 0).sum() < (unbalanced.predict(features.numpy()) == 0).sum()


def test_features_without_length_are_no_division_by_zero() -> None:
    weight, bias = linear_probe(torch.zeros(6, 4), torch.tensor([0, 1, 2, 0, 1, 2]), 3)
    assert torch.isfinite(weight).all()
    assert torch.isfinite(bias).all()
