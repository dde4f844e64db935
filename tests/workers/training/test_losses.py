"""The distillation loss against its formula, and the schedule beside it."""

import math
from itertools import pairwise

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from workers.training.losses import distil_loss
from workers.training.schedule import warmup_cosine

STUDENT = torch.tensor([[1.0, -0.5, 0.2], [0.1, 2.0, -1.0], [3.0, 0.0, 0.5], [-2.0, 1.0, 1.5]])
TEACHER = torch.tensor([[2.0, 0.5, -1.0], [0.3, 1.0, -0.7], [-1.0, 0.0, 4.0], [0.0, 0.0, 0.0]])
HARD = torch.tensor([0, 1, 2, 1])


def softmax(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    exponentials = np.exp(logits)
    return exponentials / exponentials.sum(1, keepdims=True)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 4.0])
@pytest.mark.parametrize("alpha", [0.0, 0.3, 1.0])
def test_it_is_the_formula(temperature: float, alpha: float) -> None:
    loss = distil_loss(STUDENT, TEACHER, HARD, temperature, alpha)
    wanted = softmax(TEACHER.numpy().astype(float) / temperature)
    given = softmax(STUDENT.numpy().astype(float) / temperature)
    kd = temperature**2 * (wanted * np.log(wanted / given)).sum(1).mean()
    hard = -np.log(softmax(STUDENT.numpy().astype(float))[np.arange(4), HARD.numpy()]).mean()
    assert loss.kd_loss.item() == pytest.approx(kd, rel=1e-5)
    assert loss.class_loss.item() == pytest.approx(hard, rel=1e-5)
    assert loss.loss.item() == pytest.approx(alpha * kd + (1 - alpha) * hard, rel=1e-5)


def test_a_student_that_agrees_has_no_soft_loss() -> None:
    assert distil_loss(TEACHER, TEACHER + 3, HARD, 2.0, 1.0).loss.item() == pytest.approx(0, abs=1e-6)


def test_the_soft_gradient_keeps_its_scale_at_any_temperature() -> None:
    """T^2 cancels the two factors 1/T of the gradient: at high temperatures it no longer depends on T."""

    def gradient(temperature: float) -> torch.Tensor:
        logits = STUDENT.clone().requires_grad_()
        distil_loss(logits, TEACHER, HARD, temperature, 1.0).loss.backward()
        assert logits.grad is not None
        return logits.grad

    assert torch.allclose(gradient(100.0), gradient(400.0), rtol=0.02, atol=1e-3)
    # Hinton et al. 2015, equation 4, for logits without their means.
    centred = (STUDENT - STUDENT.mean(1, keepdim=True)) - (TEACHER - TEACHER.mean(1, keepdim=True))
    assert torch.allclose(gradient(400.0), centred / (3 * 4), rtol=0.02, atol=1e-3)


def learning_rates(steps: int, ratio: float) -> list[float]:
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=2.0)
    schedule = warmup_cosine(optimizer, steps, ratio)
    rates = []
    for _ in range(steps):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    return [*rates, optimizer.param_groups[0]["lr"]]


def test_the_schedule_warms_up_then_falls_to_zero() -> None:
    rates = learning_rates(100, 0.1)
    assert rates[:10] == pytest.approx([0.2 * step for step in range(1, 11)])
    assert max(rates) == pytest.approx(2.0)
    assert all(later <= earlier for earlier, later in pairwise(rates[10:]))
    assert rates[55] == pytest.approx(1 + math.cos(math.pi / 2))
    assert rates[100] == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize("steps", [1, 2, 3])
def test_the_schedule_of_a_few_steps_learns_something(steps: int) -> None:
    rates = learning_rates(steps, 0.1)
    assert rates[0] == 2.0
    assert all(0 <= rate <= 2 for rate in rates)
