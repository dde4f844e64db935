"""One decoding step for Llama-type models, written for many short texts that start and end at different times.

transformers' own forward pass grows its cache by copying it at every step, repeats keys and values for grouped queries and keeps all
rows at one length. Here each row has a slot of a standing cache and a position of its own, so a new text can take an ended one's place.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import PreTrainedModel

from workers.training.kv_cache import SlotCache
from workers.training.linear import Linear, linear, packs

_SAME_AS_LLAMA = ("llama", "mistral", "qwen2")
_FIXED_ROPE = ("default", "linear", "llama3", "yarn")  # the others' angles depend on the text's length
_BUCKET = 16


def is_llama_type(model: PreTrainedModel) -> bool:
    """Whether `LlamaDecoder` computes what the model does."""
    config: Any = model.config
    if config.model_type not in _SAME_AS_LLAMA or config.rope_parameters.get("rope_type", "default") not in _FIXED_ROPE:
        return False
    if getattr(config, "sliding_window", None) is not None:
        return False
    return all(type(getattr(part, name)) is nn.Linear for part, names in _linears(model) for name in names)


def _linears(model: Any) -> list[tuple[nn.Module, tuple[str, ...]]]:
    attention, mlp = ("q_proj", "k_proj", "v_proj", "o_proj"), ("gate_proj", "up_proj", "down_proj")
    return [part for layer in model.model.layers for part in ((layer.self_attn, attention), (layer.mlp, mlp))]


@dataclass(frozen=True)
class _Layer:
    """`qkv` and `gate_up` are one matrix product each."""

    attention_norm: Tensor
    qkv: Linear
    out: Linear
    mlp_norm: Tensor
    gate_up: Linear
    down: Linear


class LlamaDecoder:
    """The model's weights, ready for `step`. The model stays usable; where `linear` packs, the weights are in memory twice."""

    def __init__(self, model: PreTrainedModel) -> None:
        whole: Any = model
        config = whole.config
        self.heads, self.kv_heads = config.num_attention_heads, config.num_key_value_heads
        self.head_dim = getattr(config, "head_dim", None) or config.hidden_size // self.heads
        self.epsilon = config.rms_norm_eps
        self.device, self.dtype = whole.device, whole.dtype
        self.activation = whole.model.layers[0].mlp.act_fn
        self.embedding, self.norm = whole.model.embed_tokens.weight.detach(), whole.model.norm.weight.detach()
        self.head = linear(whole.lm_head.weight, whole.lm_head.bias)
        self.layers = [_layer(layer) for layer in whole.model.layers]
        self._rotary = whole.model.rotary_emb
        self._cos = self._sin = self.embedding.new_empty((0, self.head_dim))

    def new_cache(self, slots: int) -> SlotCache:
        return SlotCache(len(self.layers), slots, self.kv_heads, self.head_dim, self.dtype, self.device)

    def prefill(self, prompts: list[list[int]]) -> tuple[list[Tensor], Tensor]:
        """What `SlotCache.add` takes for each prompt, and the (B, V) logits of its first new token.

        Token by token: prompts are few and short, and each distinct one is read once.
        """
        order = sorted(range(len(prompts)), key=lambda index: -len(prompts[index]))  # the rows still being read come first
        cache = self.new_cache(len(prompts))
        cache.rows = len(prompts)
        last = self.embedding.new_empty((len(prompts), self.embedding.shape[1]))
        for place in range(len(prompts[order[0]])):
            reading = [index for index in order if len(prompts[index]) > place]
            cache.rows = len(reading)
            hidden = self._hidden(torch.tensor([prompts[index][place] for index in reading], device=self.device), cache)
            for row, index in enumerate(reading):
                if len(prompts[index]) == place + 1:
                    last[index] = hidden[row]
        rows = {index: row for row, index in enumerate(order)}
        return [cache.prefix(rows[index]) for index in range(len(prompts))], self.head(last)

    def step(self, ids: Tensor, cache: SlotCache) -> Tensor:
        """Appends (B,) `ids` to the cache's live rows -> (B, V) logits of the next token."""
        return self.head(self._hidden(ids, cache))

    def _hidden(self, ids: Tensor, cache: SlotCache) -> Tensor:
        rows, longest = cache.rows, max(cache.lengths[: cache.rows]) + 1
        cache.reserve(longest)
        span = min(-(-longest // _BUCKET) * _BUCKET, cache.data.shape[3])
        lengths = torch.tensor(cache.lengths[:rows], device=self.device)
        cos, sin = self._angles(lengths, span)
        unread = torch.arange(span, device=self.device) > lengths.unsqueeze(1)
        mask = torch.zeros((rows, span), dtype=self.dtype, device=self.device).masked_fill_(unread, -torch.inf)[:, None, None]
        at = lengths.view(-1, 1, 1, 1).expand(-1, 2 * self.kv_heads, 1, self.head_dim)
        state = F.embedding(ids, self.embedding)
        for layer, kept in zip(self.layers, cache.data, strict=True):
            self._attend(state, layer, kept[:rows], at, mask, cos, sin)
            gate, up = layer.gate_up(self._normed(state, layer.mlp_norm)).chunk(2, dim=-1)
            state.add_(layer.down(self.activation(gate).mul_(up)))
        for row in range(rows):
            cache.lengths[row] += 1
        return self._normed(state, self.norm)

    def _attend(self, state: Tensor, layer: _Layer, kept: Tensor, at: Tensor, mask: Tensor, cos: Tensor, sin: Tensor) -> None:
        """Adds the attention to `state` (B, hidden), and the new keys and values to `kept` (B, 2 * kv_heads, tokens, head_dim)."""
        qkv = layer.qkv(self._normed(state, layer.attention_norm)).view(len(state), -1, self.head_dim)
        rotated = qkv[:, : self.heads + self.kv_heads]
        swapped = rotated.roll(self.head_dim // 2, -1)
        rotated.mul_(cos).addcmul_(swapped, sin)
        kept.scatter_(2, at, qkv[:, self.heads :].unsqueeze(2))
        span = mask.shape[-1]
        keys, values = kept[:, : self.kv_heads, :span], kept[:, self.kv_heads :, :span]
        # The queries that share a key-value head stand where a longer text's positions would: nothing is repeated.
        queries = qkv[:, : self.heads].reshape(len(state), self.kv_heads, -1, self.head_dim)
        attended = F.scaled_dot_product_attention(queries, keys, values, attn_mask=mask.expand(-1, -1, queries.shape[2], -1))
        state.add_(layer.out(attended.reshape(len(state), -1)))

    def _angles(self, lengths: Tensor, span: int) -> tuple[Tensor, Tensor]:
        """(B, 1, head_dim) cosines and sines of the rows' next positions; the sines' first half has the sign that `roll` leaves out."""
        if len(self._cos) < span:
            cos, sin = self._rotary(self.embedding, torch.arange(2 * span, device=self.device).unsqueeze(0))
            sign = torch.ones(self.head_dim, dtype=self.dtype, device=self.device)
            sign[: self.head_dim // 2] = -1
            self._cos, self._sin = cos[0], sin[0] * sign
        return self._cos[lengths].unsqueeze(1), self._sin[lengths].unsqueeze(1)

    def _normed(self, state: Tensor, weight: Tensor) -> Tensor:
        """RMSNorm; one reduction, where squares, their mean and its root would be three."""
        norm = torch.linalg.vector_norm(state, dim=-1, keepdim=True, dtype=torch.float32)
        scale = norm.square_().div_(state.shape[-1]).add_(self.epsilon).rsqrt_()
        normed: Tensor = (state * scale).to(self.dtype).mul_(weight)
        return normed


def _layer(layer: Any) -> _Layer:
    attention, mlp = layer.self_attn, layer.mlp
    return _Layer(
        attention_norm=layer.input_layernorm.weight.detach(),
        qkv=_joined([attention.q_proj, attention.k_proj, attention.v_proj]),
        out=linear(attention.o_proj.weight, attention.o_proj.bias),
        mlp_norm=layer.post_attention_layernorm.weight.detach(),
        gate_up=_joined([mlp.gate_proj, mlp.up_proj]),
        down=linear(mlp.down_proj.weight, mlp.down_proj.bias),
    )


def _joined(parts: list[nn.Linear]) -> Linear:
    """One linear layer with the parts' outputs side by side."""
    weight = torch.cat([part.weight.detach() for part in parts])
    bias = torch.cat([part.bias.detach() for part in parts]) if parts[0].bias is not None else None
    if not packs(weight):  # then the parts become views of the whole, which so takes no memory of its own
        for part, rows in zip(parts, weight.split([part.out_features for part in parts]), strict=True):
            part.weight = nn.Parameter(rows, requires_grad=False)
    return linear(weight, bias)
