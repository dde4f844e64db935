"""Sampling from any causal language model, by transformers' own forward pass and cache: one batch, all rows from the same start."""

from collections.abc import Callable

import torch
from transformers import DynamicCache, PreTrainedModel

from workers.training.draws import Draws, Sample

_COMPACT_BELOW = 0.75


@torch.inference_mode()
def sample_batch(model: PreTrainedModel, prompts: list[list[int]], first: int, draws: Draws, check: Callable[[], None]) -> list[Sample]:
    """One continuation for each prompt, in their order; the first has the number `first`. `check` is called before each step.

    Rows that have ended are left out once they are a quarter of the batch. None is refilled: how a cache of unknown kind would take a
    new row cannot be told.
    """
    device = model.device
    uniform = torch.stack([torch.from_numpy(draws.uniform(first + row)) for row in range(len(prompts))]).to(device)
    width = max(len(prompt) for prompt in prompts)
    ids = torch.zeros((len(prompts), width), dtype=torch.int64, device=device)
    mask = torch.zeros((len(prompts), width), dtype=torch.int64, device=device)
    for row, prompt in enumerate(prompts):  # padded on the left, so that all rows continue at the same place
        ids[row, width - len(prompt) :] = torch.tensor(prompt, device=device)
        mask[row, width - len(prompt) :] = 1
    cache = DynamicCache(config=model.config)
    texts: list[list[int]] = [[] for _ in prompts]
    ended = [False] * len(prompts)
    rows = torch.arange(len(prompts), device=device)  # row of the batch -> prompt
    positions = (mask.cumsum(-1) - 1).clamp(min=0)
    for step in range(draws.max_new_tokens):
        check()
        out = model(input_ids=ids, attention_mask=mask, position_ids=positions, past_key_values=cache, use_cache=True, logits_to_keep=1)
        chosen = draws.nucleus.pick(out.logits[:, -1], uniform[rows, step])
        for row, token in zip(rows.tolist(), chosen.tolist(), strict=True):
            if ended[row]:
                continue
            if token == draws.eos_id:
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
