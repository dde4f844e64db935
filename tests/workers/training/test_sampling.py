"""Nucleus sampling: the choice of a piece against a plain reference, and whole texts against transformers."""

from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from transformers import PreTrainedModel

from tests.workers.conftest import MemoryRecorder
from tests.workers.tiny import save_gpt2
from workers.training import sampling
from workers.training.causal import load_generator
from workers.training.recorder import StageStopped
from workers.training.sampling import Nucleus, Sample, sample

Loaded = tuple[PreTrainedModel, int]
PROMPTS = [[5, 9, 30], [40], [7, 8], [12, 40, 41, 42, 43, 44], [99], [100, 3]]
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


@pytest.fixture(scope="module")
def llama(generator_model: Path) -> Loaded:
    model, tokenizer = load_generator(generator_model, torch.float32)
    return model.eval(), int(tokenizer.eos_token_id)


@pytest.fixture(scope="module")
def gpt2(tmp_path_factory: pytest.TempPathFactory) -> Loaded:
    model, tokenizer = load_generator(save_gpt2(tmp_path_factory.mktemp("gpt2")), torch.float32)
    return model.eval(), int(tokenizer.eos_token_id)


def draw(
    loaded: Loaded, prompts: list[list[int]], nucleus: Nucleus = ALL, tokens: int = 20, seed: int = 0, eos: int | None = None
) -> list[Sample]:
    model, eos_id = loaded
    return sample(model, prompts, nucleus, tokens, eos_id if eos is None else eos, seed, MemoryRecorder().check)


def test_a_seed_repeats_its_texts_and_another_does_not(llama: Loaded) -> None:
    assert draw(llama, PROMPTS, seed=4) == draw(llama, PROMPTS, seed=4)
    assert draw(llama, PROMPTS, seed=4) != draw(llama, PROMPTS, seed=5)


def frequent_piece(samples: list[Sample]) -> int:
    """A piece that about half of the texts hold: taken for the end, texts end at different steps."""
    pieces = sorted({piece for text in samples for piece in text.ids})
    return min(pieces, key=lambda piece: (abs(sum(piece in text.ids for text in samples) - len(samples) / 2), piece))


@pytest.mark.parametrize("name", ["llama", "gpt2"])
def test_leaving_out_ended_rows_changes_no_other(name: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = request.getfixturevalue(name)
    prompts, cool = PROMPTS * 5, Nucleus(0.5, 0.9, 20)
    eos = frequent_piece(draw(loaded, prompts, cool, tokens=30))
    monkeypatch.setattr(sampling, "_COMPACT_BELOW", 0.0)
    whole = draw(loaded, prompts, cool, tokens=30, eos=eos)
    assert 5 <= sum(text.ended for text in whole) <= 25
    for share in (0.75, 1.0):  # 1: after every text that ends
        monkeypatch.setattr(sampling, "_COMPACT_BELOW", share)
        assert draw(loaded, prompts, cool, tokens=30, eos=eos) == whole


@pytest.mark.parametrize("name", ["llama", "gpt2"])
def test_the_padding_on_the_left_changes_nothing(name: str, request: pytest.FixtureRequest) -> None:
    """The first row draws the same numbers alone as in a batch, where a longer prompt pads it."""
    loaded = request.getfixturevalue(name)
    for prompt in PROMPTS:
        assert draw(loaded, [prompt, *PROMPTS])[0] == draw(loaded, [prompt])[0]


@pytest.mark.parametrize("name", ["llama", "gpt2"])
def test_the_best_pieces_are_those_of_transformers(name: str, request: pytest.FixtureRequest) -> None:
    model, eos = request.getfixturevalue(name)
    texts = draw((model, eos), PROMPTS, Nucleus(1.0, 1.0, 1), tokens=25)
    for prompt, text in zip(PROMPTS, texts, strict=True):
        with torch.inference_mode():
            ids = torch.tensor([prompt])
            wanted = model.generate(ids, attention_mask=torch.ones_like(ids), do_sample=False, max_new_tokens=25, pad_token_id=eos)
        continuation = wanted[0, len(prompt) :].tolist()
        assert text.ids == [piece for piece in continuation if piece != eos]
        assert text.ended == (eos in continuation)


def test_a_text_ends_at_its_end_token_or_at_the_limit(llama: Loaded) -> None:
    eos = frequent_piece(draw(llama, PROMPTS * 5))
    texts = draw(llama, PROMPTS * 5, eos=eos)
    assert any(text.ended for text in texts)
    assert any(not text.ended for text in texts)
    for text in texts:
        assert eos not in text.ids
        assert len(text.ids) < 20 if text.ended else len(text.ids) == 20


def test_each_row_draws_its_own_numbers(llama: Loaded) -> None:
    texts = draw(llama, [PROMPTS[0]] * 8)
    assert len({tuple(text.ids) for text in texts}) == 8


def test_it_stops_within_a_step(llama: Loaded) -> None:
    recorder = MemoryRecorder(stop=StageStopped(), stop_after=3)
    with pytest.raises(StageStopped):
        sample(llama[0], PROMPTS, ALL, 20, llama[1], 0, recorder.check)
    assert recorder.checks == 4
