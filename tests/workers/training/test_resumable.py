"""What a training is put back to: batches in their order, and all that decides the next step."""

import random
from itertools import chain
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from workers.training.checkpointing import read_state, write_state
from workers.training.resumable import EpochOrder, Training, put_weights, trained_weights
from workers.training.schedule import warmup_cosine

LENGTHS = [1 + number % 7 for number in range(23)]


def order(seed: int = 0) -> EpochOrder:
    return EpochOrder(LENGTHS, 4, random.Random(seed))


def passes(found: EpochOrder, count: int) -> list[Any]:
    """Batches, and a number drawn for each, as word dropout does."""
    seen: list[Any] = []
    for _ in range(count):
        for batch in found.rest():
            seen.append((batch, found.rng.random()))
        found.end()
    return seen


@pytest.mark.parametrize("after", range(13))
def test_the_order_goes_on_after_any_batch(after: int, tmp_path: Path) -> None:
    """Two passes of six batches: in the middle of one, at its end, and between them."""
    wanted = passes(order(), 3)
    first, seen = order(), []
    while len(seen) < after:
        for batch in first.rest():
            seen.append((batch, first.rng.random()))
            if len(seen) == after:
                break
        else:
            first.end()
    write_state(first.state(), tmp_path / "state")
    state = read_state(tmp_path / "state")
    assert state is not None
    second = order(seed=99)
    second.restore(state)
    left = 3 - (after // 6 if second.taken < 6 else after // 6 - 1)
    assert seen + passes(second, left) == wanted


def test_each_pass_holds_all_rows_once_and_has_an_order_of_its_own() -> None:
    seen = [batch for batch, _ in passes(order(), 2)]
    assert sorted(chain(*seen[:6])) == sorted(chain(*seen[6:])) == list(range(23))
    assert seen[:6] != seen[6:]


def test_a_pass_may_end_before_its_last_batch() -> None:
    found = order()
    next(found.rest())
    assert found.taken == 1
    found.end()
    assert found.taken == 0
    assert sorted(chain(*(batch for batch, _ in passes(found, 1)))) == list(range(23))


def net(tied: bool = False) -> nn.Sequential:
    torch.manual_seed(0)
    made = nn.Sequential(nn.Linear(6, 6), nn.BatchNorm1d(6), nn.Dropout(0.5), nn.Linear(6, 6))
    if tied:
        made[3].weight = made[0].weight
    made[0].bias.requires_grad_(False)
    return made


def training(module: nn.Module) -> Training:
    optimizer = torch.optim.AdamW([parameter for parameter in module.parameters() if parameter.requires_grad], lr=1e-2, fused=True)
    return Training(module, optimizer, warmup_cosine(optimizer, 40, 0.2), order())


def steps(found: Training, count: int) -> None:
    for _ in range(count):
        found.module.train()
        found.optimizer.zero_grad()
        found.module(torch.randn(5, 6)).square().sum().backward()
        found.optimizer.step()
        found.schedule.step()


@pytest.mark.parametrize("tied", [False, True])
def test_the_next_steps_are_the_same(tied: bool, tmp_path: Path) -> None:
    whole = training(net(tied))
    torch.manual_seed(1)
    steps(whole, 9)
    write_state(whole.state(), tmp_path / "state")
    steps(whole, 9)
    state = read_state(tmp_path / "state")
    assert state is not None
    torch.manual_seed(7)
    again = training(net(tied))
    again.restore(state)
    assert state == {}
    steps(again, 9)
    one, other = whole.module.state_dict(), again.module.state_dict()
    assert all(torch.equal(one[name], other[name]) for name in one)
    assert torch.equal(torch.get_rng_state(), again.state()["torch"]["cpu"])
    assert (again.module[3].weight is again.module[0].weight) == tied


def test_frozen_weights_are_left_out_and_buffers_are_not() -> None:
    module = net()
    assert set(trained_weights(module)) == set(module.state_dict()) - {"0.bias"}
    weights = {name: torch.full_like(tensor, 3) for name, tensor in trained_weights(module).items()}
    before = module[0].bias.clone()
    put_weights(module, weights)
    assert torch.equal(module[0].bias, before)
    assert all((tensor == 3).all() for tensor in trained_weights(module).values())
