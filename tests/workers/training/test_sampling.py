"""Whole texts: against transformers' `generate`, against exact probabilities, and whatever is sampled beside them."""

from collections import Counter
from itertools import product
from operator import length_hint
from pathlib import Path

import pytest
import torch
from torch import Tensor
from transformers import PreTrainedModel

from tests.workers.conftest import MemoryRecorder
from tests.workers.tiny import save_gpt2
from workers.training import batch_sampling, sampling
from workers.training.causal import load_generator
from workers.training.decoding import LlamaDecoder, is_llama_type
from workers.training.draws import Draws, Sample
from workers.training.kv_cache import SlotCache
from workers.training.nucleus import Nucleus
from workers.training.recorder import StageStopped
from workers.training.sampling import in_order, sample_stream

Loaded = tuple[PreTrainedModel, int]
PROMPTS = [[5, 9, 30], [40], [7, 8], [12, 40, 41, 42, 43, 44], [99], [100, 3]]
ALL = Nucleus(temperature=1.0, top_p=1.0, top_k=1000)
COOL = Nucleus(0.5, 0.9, 20)
BEST = Nucleus(1.0, 1.0, 1)
BOTH = pytest.mark.parametrize("name", ["llama", "gpt2"])


@pytest.fixture(scope="module")
def llama(generator_model: Path) -> Loaded:
    model, tokenizer = load_generator(generator_model, torch.float32)
    return model.eval(), int(tokenizer.eos_token_id)


@pytest.fixture(scope="module")
def gpt2(tmp_path_factory: pytest.TempPathFactory) -> Loaded:
    model, tokenizer = load_generator(save_gpt2(tmp_path_factory.mktemp("gpt2")), torch.float32)
    return model.eval(), int(tokenizer.eos_token_id)


@pytest.fixture
def loaded(name: str, request: pytest.FixtureRequest) -> Loaded:
    value: Loaded = request.getfixturevalue(name)
    return value


def draw(
    loaded: Loaded,
    prompts: list[list[int]],
    nucleus: Nucleus = ALL,
    tokens: int = 20,
    seed: int = 0,
    eos: int | None = None,
    slots: int = 64,
) -> list[Sample]:
    """In the order of the prompts."""
    model, eos_id = loaded
    waiting = iter(prompts)
    draws = Draws(nucleus, tokens, eos_id if eos is None else eos, seed)
    numbered = list(in_order(sample_stream(model, lambda: next(waiting, None), slots, draws, MemoryRecorder().check)))
    assert [number for number, _ in numbered] == list(range(len(prompts)))
    return [sample for _, sample in numbered]


def frequent_piece(samples: list[Sample]) -> int:
    """A piece that about half of the texts hold: taken for the end, texts end at different steps."""
    pieces = sorted({piece for text in samples for piece in text.ids})
    return min(pieces, key=lambda piece: (abs(sum(piece in text.ids for text in samples) - len(samples) / 2), piece))


def test_both_ways_are_taken(llama: Loaded, gpt2: Loaded) -> None:
    assert is_llama_type(llama[0])
    assert not is_llama_type(gpt2[0])


@BOTH
@pytest.mark.parametrize("slots", [1, 4, 64])
def test_the_best_pieces_are_those_of_transformers(loaded: Loaded, slots: int) -> None:
    """With an end that comes early for half of the texts, so that their slots are taken by others."""
    model, _ = loaded
    prompts = PROMPTS * 3
    eos = frequent_piece(draw(loaded, PROMPTS, BEST, tokens=40, eos=-1))
    texts = draw(loaded, prompts, BEST, tokens=40, eos=eos, slots=slots)
    assert len({len(text.ids) for text in texts}) > 1
    for prompt, text in zip(prompts, texts, strict=True):
        with torch.inference_mode():
            ids = torch.tensor([prompt])
            wanted = model.generate(  # type: ignore[operator]  # a mixin's method that its types hide
                ids, attention_mask=torch.ones_like(ids), do_sample=False, max_new_tokens=40, eos_token_id=eos, pad_token_id=eos
            )
        continuation = wanted[0, len(prompt) :].tolist()
        assert text.ids == [piece for piece in continuation if piece != eos]
        assert text.ended == (eos in continuation)


@BOTH
def test_what_is_sampled_beside_a_text_does_not_change_it(loaded: Loaded) -> None:
    prompts = PROMPTS * 5
    eos = frequent_piece(draw(loaded, prompts, COOL, tokens=30))
    whole = draw(loaded, prompts, COOL, tokens=30, eos=eos)
    assert 5 <= sum(text.ended for text in whole) <= 25
    for slots in (1, 3, 17):
        assert draw(loaded, prompts, COOL, tokens=30, eos=eos, slots=slots) == whole
    assert draw(loaded, prompts[:7], COOL, tokens=30, eos=eos, slots=5) == whole[:7]


def test_leaving_out_ended_rows_changes_no_other(gpt2: Loaded, monkeypatch: pytest.MonkeyPatch) -> None:
    eos = frequent_piece(draw(gpt2, PROMPTS * 5, COOL, tokens=30))
    monkeypatch.setattr(batch_sampling, "_COMPACT_BELOW", 0.0)
    whole = draw(gpt2, PROMPTS * 5, COOL, tokens=30, eos=eos)
    for share in (0.75, 1.0):  # 1: after every text that ends
        monkeypatch.setattr(batch_sampling, "_COMPACT_BELOW", share)
        assert draw(gpt2, PROMPTS * 5, COOL, tokens=30, eos=eos) == whole


@BOTH
def test_a_seed_repeats_its_texts_and_another_does_not(loaded: Loaded) -> None:
    assert draw(loaded, PROMPTS, seed=4) == draw(loaded, PROMPTS, seed=4)
    assert draw(loaded, PROMPTS, seed=4) != draw(loaded, PROMPTS, seed=5)


@BOTH
def test_texts_come_as_often_as_their_probability_says(loaded: Loaded) -> None:
    """Two pieces out of the five best each time: all 25 texts can be counted."""
    model, _ = loaded
    prompt, number = PROMPTS[0], 4000
    counts = Counter(tuple(text.ids) for text in draw(loaded, [prompt] * number, Nucleus(1.0, 1.0, 5), tokens=2, eos=-1, slots=200))

    @torch.inference_mode()
    def best(ids: list[int]) -> dict[int, float]:
        values, places = model(torch.tensor([ids])).logits[0, -1].softmax(-1).topk(5)
        return dict(zip(places.tolist(), (values / values.sum()).tolist(), strict=True))

    wanted = {}
    for first, share in best(prompt).items():
        wanted.update({(first, second): share * part for second, part in best([*prompt, first]).items()})
    assert set(counts) <= set(wanted)
    assert len(wanted) == 25
    for text, probability in wanted.items():
        assert counts[text] == pytest.approx(number * probability, abs=4.5 * (number * probability * (1 - probability)) ** 0.5)


@BOTH
def test_a_text_ends_at_its_end_token_or_at_the_limit(loaded: Loaded) -> None:
    eos = frequent_piece(draw(loaded, PROMPTS * 5))
    texts = draw(loaded, PROMPTS * 5, eos=eos)
    assert any(text.ended for text in texts)
    assert any(not text.ended for text in texts)
    for text in texts:
        assert eos not in text.ids
        assert len(text.ids) < 20 if text.ended else len(text.ids) == 20


def test_texts_that_end_at_once_are_empty(llama: Loaded) -> None:
    first = draw(llama, [PROMPTS[1]], BEST, tokens=4)[0].ids[0]
    assert draw(llama, [PROMPTS[1]] * 9, BEST, tokens=4, eos=first, slots=4) == [Sample([], ended=True)] * 9


@BOTH
def test_each_text_draws_its_own_numbers(loaded: Loaded) -> None:
    assert len({tuple(text.ids) for text in draw(loaded, [PROMPTS[0]] * 8, slots=3)}) == 8


def test_an_ended_text_is_replaced_before_the_next_step(llama: Loaded, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every slot is taken at every step as long as there are prompts, and each distinct prompt is read once."""
    eos = frequent_piece(draw(llama, PROMPTS * 5))
    waiting = iter(PROMPTS * 8)
    left: list[int] = []
    rows: list[int] = []
    read: list[list[int]] = []
    step, prefill = LlamaDecoder.step, LlamaDecoder.prefill

    def noted_step(decoder: LlamaDecoder, ids: Tensor, cache: SlotCache) -> Tensor:
        rows.append(len(ids))
        left.append(length_hint(waiting))
        return step(decoder, ids, cache)

    def noted_prefill(decoder: LlamaDecoder, prompts: list[list[int]]) -> tuple[list[Tensor], Tensor]:
        read.extend(prompts)
        return prefill(decoder, prompts)

    monkeypatch.setattr(LlamaDecoder, "step", noted_step)
    monkeypatch.setattr(LlamaDecoder, "prefill", noted_prefill)
    texts = dict(sample_stream(llama[0], lambda: next(waiting, None), 7, Draws(ALL, 20, eos, 0), MemoryRecorder().check))
    assert sorted(texts) == list(range(48))
    full = [count for count, prompts in zip(rows, left, strict=True) if prompts]
    assert len(full) > 20
    assert set(full) == {7}
    assert sorted(read) == sorted(PROMPTS)
    pieces = sum(len(text.ids) + text.ended for text in texts.values())
    assert sum(rows) == pieces - 48  # a text's first piece takes no step


def test_prompts_may_come_later(llama: Loaded) -> None:
    """None is 'not now': it is asked again as long as texts are under way."""
    answers = [PROMPTS[0], None, PROMPTS[1], None, None, PROMPTS[2]]
    waiting = iter(answers)
    samples = list(sample_stream(llama[0], lambda: next(waiting, None), 8, Draws(ALL, 12, -1, 0), MemoryRecorder().check))
    assert sorted(number for number, _ in samples) == [0, 1, 2]
    together = draw(llama, [prompt for prompt in answers if prompt], tokens=12, eos=-1)
    assert dict(samples) == dict(enumerate(together))


def test_no_prompt_is_no_text(llama: Loaded, gpt2: Loaded) -> None:
    assert draw(llama, []) == draw(gpt2, []) == []


def test_many_distinct_prompts_are_forgotten_and_read_again(llama: Loaded, monkeypatch: pytest.MonkeyPatch) -> None:
    prompts = [[first, second] for first, second in product(range(3, 9), range(3, 7))] * 2
    whole = draw(llama, prompts, COOL, slots=6)
    monkeypatch.setattr(sampling, "_PROMPTS_KEPT", 2)
    assert draw(llama, prompts, COOL, slots=6) == whole


@BOTH
def test_it_stops_within_a_step(loaded: Loaded) -> None:
    recorder = MemoryRecorder(stop=StageStopped(), stop_after=3)
    waiting = iter(PROMPTS)
    with pytest.raises(StageStopped):
        list(sample_stream(loaded[0], lambda: next(waiting, None), 64, Draws(ALL, 20, -1, 0), recorder.check))
    assert recorder.checks == 4


def test_in_order_holds_a_text_back_until_those_before_it_are_there() -> None:
    texts = [Sample([number], True) for number in range(4)]
    coming = iter([(2, texts[2]), (0, texts[0]), (1, texts[1]), (3, texts[3])])
    ordered = in_order(coming)
    assert [next(ordered), next(ordered)] == [(0, texts[0]), (1, texts[1])]
    assert next(coming) == (3, texts[3])
    assert next(ordered) == (2, texts[2])
