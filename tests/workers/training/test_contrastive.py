"""The supervised contrastive loss against its formula, and at its limits."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from workers.training.contrastive import supervised_contrastive_loss


def naive(embeddings: torch.Tensor, targets: list[int], temperature: float) -> float:
    """Khosla et al. 2020, equation 2, written out."""
    rows = [[float(value) for value in row] for row in embeddings.double()]
    unit = [[value / math.sqrt(sum(v * v for v in row)) for value in row] for row in rows]

    def similarity(i: int, j: int) -> float:
        return sum(a * b for a, b in zip(unit[i], unit[j], strict=True)) / temperature

    total = 0.0
    for i in range(len(unit)):
        others = [j for j in range(len(unit)) if j != i]
        positives = [j for j in others if targets[j] == targets[i]]
        whole = sum(math.exp(similarity(i, a)) for a in others)
        if positives:
            total -= sum(math.log(math.exp(similarity(i, p)) / whole) for p in positives) / len(positives)
    return total / len(unit)


@given(
    targets=st.lists(st.integers(0, 3), min_size=2, max_size=9),
    temperature=st.sampled_from([0.1, 0.5, 2.0]),
    seed=st.integers(0, 99),
)
def test_it_is_the_formula(targets: list[int], temperature: float, seed: int) -> None:
    embeddings = 3 * torch.randn(len(targets), 5, generator=torch.Generator().manual_seed(seed))
    found = supervised_contrastive_loss(embeddings, torch.tensor(targets), temperature).item()
    assert found == pytest.approx(naive(embeddings, targets, temperature), rel=1e-4, abs=1e-5)


def test_with_two_views_a_row_alone_in_its_class_has_a_positive() -> None:
    """Two views that agree, and classes at right angles: nothing is left to learn. Mixed up, there is much."""
    views = torch.eye(3).repeat(2, 1)
    targets = torch.arange(3)
    assert supervised_contrastive_loss(views, targets.repeat(2), 0.1).item() == pytest.approx(0, abs=1e-3)
    assert supervised_contrastive_loss(views, torch.cat([targets, targets.roll(1)]), 0.1).item() > 5


def test_several_positives_share_the_probability() -> None:
    embeddings = torch.eye(2).repeat_interleave(4, 0)
    targets = torch.arange(2).repeat_interleave(4)
    assert supervised_contrastive_loss(embeddings, targets, 0.05).item() == pytest.approx(math.log(3), abs=1e-3)


def test_rows_that_are_all_alike_are_told_apart_by_chance_alone() -> None:
    embeddings = torch.ones(6, 4) * torch.arange(1, 7).unsqueeze(1)  # the length of a vector does not count
    assert supervised_contrastive_loss(embeddings, torch.tensor([0, 0, 0, 1, 1, 1]), 0.1).item() == pytest.approx(math.log(5), abs=1e-4)


def test_without_a_positive_there_is_neither_a_loss_nor_a_gradient() -> None:
    embeddings = torch.randn(3, 4, generator=torch.Generator().manual_seed(0)).requires_grad_()
    loss = supervised_contrastive_loss(embeddings, torch.tensor([0, 1, 2]), 0.1)
    loss.backward()
    assert loss.item() == 0
    assert torch.equal(embeddings.grad, torch.zeros(3, 4))


def test_a_few_steps_draw_classes_together_and_apart() -> None:
    embeddings = torch.randn(12, 8, generator=torch.Generator().manual_seed(0)).requires_grad_()
    targets = torch.arange(12) % 3

    def cosines() -> tuple[float, float]:
        unit = torch.nn.functional.normalize(embeddings.detach(), dim=-1)
        similarity, alike = unit @ unit.T, targets.unsqueeze(1) == targets
        own = torch.eye(12, dtype=torch.bool)
        return similarity[alike & ~own].mean().item(), similarity[~alike].mean().item()

    within, between = cosines()
    optimizer = torch.optim.SGD([embeddings], lr=0.5)
    for _ in range(50):
        optimizer.zero_grad()
        supervised_contrastive_loss(embeddings, targets, 0.5).backward()
        assert torch.isfinite(embeddings.grad).all()
        optimizer.step()
    later_within, later_between = cosines()
    assert later_within > within + 0.3
    assert later_between < between - 0.05


def test_half_precision_embeddings_are_compared_in_single() -> None:
    embeddings, targets = torch.randn(8, 16, generator=torch.Generator().manual_seed(0)), torch.arange(8) % 2
    loss = supervised_contrastive_loss(embeddings.bfloat16(), targets, 0.1)
    assert loss.dtype == torch.float32
    assert loss.item() == pytest.approx(supervised_contrastive_loss(embeddings.bfloat16().float(), targets, 0.1).item(), rel=1e-6)
