"""Batched nucleus sampling (Holtzman et al. 2020) from a causal language model."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from transformers import DynamicCache, PreTrainedModel

_COMPACT_BELOW = 0.75


@dataclass(frozen=True)
class Sample:
    """`ended` is false if the text ran into the limit before its end-of-text token."""

    ids: list[int]
    ended: bool


@dataclass(frozen=True)
class Nucleus:
    """`top_k` bounds the nucleus: the k best pieces are found without sorting the vocabulary."""

    temperature: float
    top_p: float
    top_k: int

    def pick(self, logits: Tensor, uniform: Tensor) -> Tensor:
        """(B, V) logits and (B,) uniform numbers in [0, 1) -> (B,) ids, by inverting the nucleus' cumulative distribution."""
        logits = logits.float()
        if self.temperature != 1:  # a pass over the whole vocabulary that is worth sparing
            logits = logits / self.temperature
        best, ids = logits.topk(min(self.top_k, logits.shape[-1]), dim=-1)
        probabilities = (best - logits.logsumexp(-1, keepdim=True)).exp()
        before = probabilities.cumsum(-1) - probabilities
        probabilities = probabilities * (before < self.top_p)
        cumulative = probabilities.cumsum(-1)
        # `uniform` scaled by the nucleus' mass; right=True so that a zero-probability piece is never chosen at a tie.
        chosen = torch.searchsorted(cumulative, (uniform * cumulative[:, -1]).unsqueeze(1), right=True)
        last = (probabilities > 0).sum(-1, keepdim=True) - 1
        return ids.gather(1, torch.minimum(chosen, last)).squeeze(1)


@torch.inference_mode()
def sample(
    model: PreTrainedModel,
    prompts: list[list[int]],
    nucleus: Nucleus,
    max_new_tokens: int,
    eos_id: int,
    seed: int,
    check: Callable[[], None],
) -> list[Sample]:
    """One continuation for each prompt, in their order. `check` is called before each step.

    Each row draws from its own stream of random numbers, so that leaving out rows that have ended does not change the others.
    """
    device = model.device
    uniform = torch.rand((len(prompts), max_new_tokens), generator=torch.Generator().manual_seed(seed)).to(device)
    width = max(len(prompt) for prompt in prompts)
    ids = torch.full((len(prompts), width), eos_id, device=device)
    mask = torch.zeros((len(prompts), width), dtype=torch.int64, device=device)
    for row, prompt in enumerate(prompts):  # padded on the left, so that all rows continue at the same place
        ids[row, width - len(prompt) :] = torch.tensor(prompt, device=device)
        mask[row, width - len(prompt) :] = 1
    cache = DynamicCache(config=model.config)
    texts: list[list[int]] = [[] for _ in prompts]
    ended = [False] * len(prompts)
    rows = torch.arange(len(prompts), device=device)  # row of the batch -> prompt
    positions = (mask.cumsum(-1) - 1).clamp(min=0)
    for step in range(max_new_tokens):
        check()
        out = model(input_ids=ids, attention_mask=mask, position_ids=positions, past_key_values=cache, use_cache=True, logits_to_keep=1)
        chosen = nucleus.pick(out.logits[:, -1], uniform[rows, step])
        for row, token in zip(rows.tolist(), chosen.tolist(), strict=True):
            if ended[row]:
                continue
            if token == eos_id:
                ended[row] = True
            else:
                texts[row].append(token)
        live = [place for place, row in enumerate(rows.tolist()) if not ended[row]]
        if not live:
            break
        ids, positions = chosen.unsqueeze(1), positions[:, -1:] + 1
        mask = torch.cat([mask, mask.new_ones((len(mask), 1))], dim=1)
        if len(live) <= _COMPACT_BELOW * len(rows):
            kept = torch.tensor(live, device=device)
            ids, positions, mask, rows = ids[kept], positions[kept], mask[kept], rows[kept]
            cache.batch_select_indices(kept)
    return [Sample(text, end) for text, end in zip(texts, ended, strict=True)]
