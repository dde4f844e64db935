"""Our decoding step against transformers' forward pass."""

from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import (
    AutoModelForCausalLM,
    GPT2Config,
    LlamaConfig,
    MistralConfig,
    PreTrainedModel,
    Qwen2Config,
)

from workers.training import decoding, linear
from workers.training.decoding import LlamaDecoder, is_llama_type

SIZES: dict[str, Any] = {
    "vocab_size": 300,
    "hidden_size": 48,
    "intermediate_size": 80,
    "num_hidden_layers": 3,
    "num_attention_heads": 6,
    "num_key_value_heads": 2,
    "max_position_embeddings": 256,
    "initializer_range": 0.2,
}
LLAMA3 = {
    "rope_type": "llama3",
    "rope_theta": 1000.0,
    "factor": 4.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 32,
}
CONFIGS = {
    "llama": LlamaConfig(**SIZES),
    "tied": LlamaConfig(**SIZES, tie_word_embeddings=True),
    "biases": LlamaConfig(**SIZES, attention_bias=True, mlp_bias=True),
    "wide heads": LlamaConfig(**SIZES, head_dim=16),
    "gelu": LlamaConfig(**SIZES, hidden_act="gelu"),
    "llama 3 rope": LlamaConfig(**SIZES, rope_parameters=LLAMA3),
    "mistral": MistralConfig(**SIZES, sliding_window=None),
    "qwen2": Qwen2Config(**SIZES),
}
TEXTS = [[5, 9, 30, 8], [40], [7, 8, 9, 10, 11, 12, 13], [99, 3]]


def make(config: Any, dtype: torch.dtype = torch.float32) -> PreTrainedModel:
    torch.manual_seed(0)
    model: PreTrainedModel = AutoModelForCausalLM.from_config(config).eval()
    for name, parameter in model.named_parameters():
        if name.endswith("bias") or "norm" in name:  # zeros and ones would hide one that is forgotten
            torch.nn.init.normal_(parameter.data, mean=float("norm" in name), std=0.3)
    return model.to(dtype)  # type: ignore[arg-type]  # transformers' override is not typed


@torch.inference_mode()
def wanted_logits(model: PreTrainedModel, text: list[int]) -> Tensor:
    logits: Tensor = model(torch.tensor([text])).logits[0, -1]
    return logits


@pytest.mark.parametrize("name", CONFIGS)
@torch.inference_mode()
def test_it_computes_what_the_model_does(name: str) -> None:
    """Rows of different lengths, one of which ends and another takes its place, past the cache's first block."""
    model = make(CONFIGS[name])
    wanted = [wanted_logits(model, text) for text in TEXTS]
    assert is_llama_type(model)
    decoder = LlamaDecoder(model)
    prefixes, logits = decoder.prefill(TEXTS)
    torch.testing.assert_close(logits, torch.stack(wanted), atol=1e-4, rtol=1e-4)
    cache = decoder.new_cache(4)
    rows = [list(text) for text in TEXTS]
    for prefix in prefixes:
        cache.add(prefix)
    order = torch.Generator().manual_seed(1)
    for step in range(40):
        if step in {3, 11}:
            cache.remove(1)
            rows[1] = rows.pop()
        if step == 15:
            cache.add(prefixes[0])
            rows.append(list(TEXTS[0]))
        ids = torch.randint(0, 300, (len(rows),), generator=order)
        for row, piece in zip(rows, ids.tolist(), strict=True):
            row.append(piece)
        found = decoder.step(ids, cache)
        if step % 3 == 0 or step > 30:
            expected = torch.stack([wanted_logits(model, row) for row in rows])
            torch.testing.assert_close(found, expected, atol=2e-4, rtol=1e-3)
    assert max(cache.lengths) > 32


@torch.inference_mode()
def test_half_precision_is_close() -> None:
    model = make(CONFIGS["llama"], torch.bfloat16)
    exact = torch.stack([wanted_logits(make(CONFIGS["llama"]), text) for text in TEXTS])
    theirs = torch.stack([wanted_logits(model, text) for text in TEXTS]).float()
    ours = LlamaDecoder(model).prefill(TEXTS)[1]
    assert ours.dtype == torch.bfloat16
    assert (ours.float() - exact).norm() < 1.3 * (theirs - exact).norm()


@pytest.mark.parametrize("packed", [True, False])
def test_the_model_stays_what_it_was(packed: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if not packed:
        monkeypatch.setattr(decoding, "packs", lambda weight: False)
        monkeypatch.setattr(linear, "packs", lambda weight: False)
    model = make(CONFIGS["biases"])
    before = {name: value.clone() for name, value in model.state_dict().items()}
    wanted = wanted_logits(model, TEXTS[0])
    found = LlamaDecoder(model).prefill([TEXTS[0]])[1][0]
    torch.testing.assert_close(found, wanted, atol=1e-4, rtol=1e-4)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    torch.testing.assert_close(wanted_logits(model, TEXTS[0]), wanted, atol=1e-5, rtol=1e-5)
    layer: Any = model.model.layers[0]  # type: ignore[union-attr, index]  # nn.Module's attributes are not typed
    parts = {part.weight.untyped_storage().data_ptr() for part in (layer.self_attn.q_proj, layer.self_attn.k_proj, layer.self_attn.v_proj)}
    assert len(parts) == (3 if packed else 1)  # unpacked, they share the memory of the product they are part of


@pytest.mark.parametrize(
    "config",
    [
        GPT2Config(vocab_size=300, n_embd=32, n_layer=1, n_head=2),
        MistralConfig(**SIZES, sliding_window=16),
        LlamaConfig(**SIZES, rope_parameters={"rope_type": "dynamic", "rope_theta": 1000.0, "factor": 2.0}),
    ],
    ids=["gpt2", "sliding window", "angles that depend on the length"],
)
def test_other_models_are_not_taken_for_llama(config: Any) -> None:
    assert not is_llama_type(make(config))


def test_layers_that_are_not_plain_are_left_alone() -> None:
    model = make(CONFIGS["llama"])
    model.model.layers[1].mlp.up_proj = torch.nn.Sequential(model.model.layers[1].mlp.up_proj)  # type: ignore[union-attr, index]  # as above
    assert not is_llama_type(model)
