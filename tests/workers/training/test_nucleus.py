"""The choice of a piece, against a plain reference."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from workers.training.nucleus import Nucleus

ALL = Nucleus(temperature=1.0, top_p=1.0, top_k=1000)


def nucleus_of(logits: Tensor, nucleus: Nucleus) -> dict[int, float]:
    """The plain definition: the fewest best pieces whose mass reaches top_p, at most top_k of them, renormalised."""
    probabilities = (logits.double() / nucleus.temperature).softmax(-1)
    kept: dict[int, float] = {}
    for piece in sorted(range(len(logits)), key=lambda piece: (-probabilities[piece].item(), piece))[: nucleus.top_k]:
        kept[piece] = probabilities[piece].item()
        if sum(kept.values()) >= nucleus.top_p:
            break
    return {piece: value / sum(kept.values()) for piece, value in kept.items()}


@settings(deadline=None)
@given(
    seed=st.integers(0, 10_000),
    temperature=st.sampled_from([0.3, 1.0, 2.5]),
    top_p=st.floats(0.01, 1.0),
    top_k=st.integers(1, 40),
)
def test_the_nucleus_is_that_of_the_definition(seed: int, temperature: float, top_p: float, top_k: int) -> None:
    """Evenly spaced numbers draw every piece about as often as its probability says, and none outside the nucleus."""
    logits = 3 * torch.randn(30, generator=torch.Generator().manual_seed(seed))
    nucleus = Nucleus(temperature, top_p, top_k)
    wanted = nucleus_of(logits, nucleus)
    draws = 2000
    uniform = (torch.arange(draws) + 0.5) / draws
    counts = torch.bincount(nucleus.pick(logits.expand(draws, -1), uniform), minlength=30) / draws
    for piece in range(30):
        assert counts[piece].item() == pytest.approx(wanted.get(piece, 0.0), abs=2.5 / draws + 1e-4)


@pytest.mark.parametrize("nucleus", [Nucleus(1.0, 1e-9, 200), Nucleus(1.0, 1.0, 1), Nucleus(0.01, 0.95, 200)])
def test_a_tiny_nucleus_is_the_best_piece(nucleus: Nucleus) -> None:
    order = torch.Generator().manual_seed(0)
    logits = torch.stack([torch.randperm(50, generator=order) for _ in range(64)]).float()
    uniform = torch.rand(64, generator=torch.Generator().manual_seed(1))
    assert torch.equal(nucleus.pick(logits, uniform), logits.argmax(-1))


def test_the_ends_of_the_unit_interval_choose_the_best_and_the_last_piece() -> None:
    logits = torch.tensor([[0.0, 3.0, 1.0, 2.0]])
    below_one = torch.tensor([1 - 2**-24])
    assert ALL.pick(logits, torch.tensor([0.0])).item() == 1
    assert ALL.pick(logits, below_one).item() == 0
    assert Nucleus(1.0, 1.0, 2).pick(logits, below_one).item() == 3


def test_impossible_pieces_are_never_chosen() -> None:
    logits = torch.tensor([[0.0, -torch.inf, 0.0, -torch.inf]]).expand(1000, -1)
    uniform = torch.cat([torch.arange(999) / 999, torch.tensor([1 - 2**-24])])
    assert set(ALL.pick(logits, uniform).tolist()) == {0, 2}


def test_half_precision_logits_are_computed_in_single() -> None:
    logits = torch.randn(32, 400, generator=torch.Generator().manual_seed(0)).bfloat16()
    uniform = torch.rand(32, generator=torch.Generator().manual_seed(1))
    assert torch.equal(ALL.pick(logits, uniform), ALL.pick(logits.float(), uniform))


@pytest.mark.parametrize("width", [4096, 4100, 49_152])
@pytest.mark.parametrize("spread", [0.3, 4.0])
def test_a_large_vocabulary_is_searched_in_parts_to_the_same_end(width: int, spread: float) -> None:
    """Flat rows need all of top_k, peaked ones few pieces; the best one lies at either end, where chunks begin or are cut short."""
    logits = spread * torch.randn(24, width, generator=torch.Generator().manual_seed(width))
    logits[0, 0], logits[1, -1], logits[2, :] = logits.max() + 2, logits.max() + 2, torch.linspace(0, 5, width)
    logits[3, :], logits[3, 100:1960:60], logits[3, -1] = (
        -30.0,
        torch.linspace(0.0, 0.1, 31),
        1.0,
    )  # without the last one, the others would still reach top_p
    nucleus = Nucleus(1.0, 0.9, 200)
    probabilities, ids = logits.softmax(-1).topk(200)
    inside = probabilities.cumsum(-1) - probabilities < 0.9
    shortlist = nucleus.shortlist(logits)
    wanted = (probabilities * inside).cumsum(-1)
    found = shortlist.cumulative
    torch.testing.assert_close(torch.nn.functional.pad(found, (0, 200 - found.shape[1]), value=0).amax(-1), wanted.amax(-1))
    for row in range(24):
        size = int(inside[row].sum())
        assert shortlist.ids[row, :size].tolist() == ids[row, :size].tolist()
        torch.testing.assert_close(found[row, :size], wanted[row, :size])


def test_a_shortlist_can_be_picked_from_again() -> None:
    """What a prompt's texts start with is found once and drawn from for each of them."""
    logits = torch.randn(3, 500, generator=torch.Generator().manual_seed(0))
    nucleus, uniform = Nucleus(1.0, 0.9, 50), torch.rand(100, generator=torch.Generator().manual_seed(1))
    again = torch.cat([nucleus.shortlist(logits).row(1).pick(number.view(1)) for number in uniform])
    assert torch.equal(again, nucleus.pick(logits[1].expand(100, -1), uniform))
