"""A stream of texts sampled from a causal language model: as one ends, the next takes its place."""

from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import count

import torch
from torch import Tensor
from transformers import PreTrainedModel

from workers.training.batch_sampling import sample_batch
from workers.training.decoding import LlamaDecoder, is_llama_type
from workers.training.draws import Draws, Sample
from workers.training.nucleus import Shortlist

_PROMPTS_KEPT = 512

NextPrompt = Callable[[], list[int] | None]
"""The ids of the next prompt, or None if there is none to ask for at the moment."""


def sample_stream(
    model: PreTrainedModel, next_prompt: NextPrompt, slots: int, draws: Draws, check: Callable[[], None]
) -> Iterator[tuple[int, Sample]]:
    """Up to `slots` texts at a time; yields each when it ends, with its prompt's number: 0 for the first `next_prompt` gave.

    Short texts end first, so the first n to come out are no fair sample: take them by their numbers (`in_order`). `next_prompt` is
    asked whenever there is room, also after it gave None; the stream ends when it gives None and no text is under way. `check` is
    called before each step. A text's random numbers follow from seed and number alone.
    """
    if is_llama_type(model):
        return _refilled(LlamaDecoder(model), next_prompt, slots, draws, check)
    return _batched(model, next_prompt, slots, draws, check)


def in_order(samples: Iterator[tuple[int, Sample]]) -> Iterator[tuple[int, Sample]]:
    """The samples by their numbers, each held back until those before it are there."""
    held: dict[int, Sample] = {}
    due = 0
    for number, sample in samples:
        held[number] = sample
        while due in held:
            yield due, held.pop(due)
            due += 1


def _batched(
    model: PreTrainedModel, next_prompt: NextPrompt, slots: int, draws: Draws, check: Callable[[], None]
) -> Iterator[tuple[int, Sample]]:
    first = 0
    while prompts := _take(next_prompt, slots):
        yield from enumerate(sample_batch(model, prompts, first, draws, check), first)
        first += len(prompts)


def _take(next_prompt: NextPrompt, most: int) -> list[list[int]]:
    prompts: list[list[int]] = []
    while len(prompts) < most and (prompt := next_prompt()) is not None:
        prompts.append(prompt)
    return prompts


@dataclass
class _Row:
    """A text under way. `uniform` are its random numbers, one a token."""

    number: int
    uniform: list[float]
    ids: list[int] = field(default_factory=list)

    def take(self, token: int, draws: Draws) -> Sample | None:
        """The text, if `token` ends it."""
        if token == draws.eos_id:
            return Sample(self.ids, ended=True)
        self.ids.append(token)
        return Sample(self.ids, ended=False) if len(self.ids) == draws.max_new_tokens else None


@torch.inference_mode()
def _refilled(
    decoder: LlamaDecoder, next_prompt: NextPrompt, slots: int, draws: Draws, check: Callable[[], None]
) -> Iterator[tuple[int, Sample]]:
    numbers = count()
    starts = _Starts(decoder, draws)
    cache = decoder.new_cache(slots)
    rows: list[_Row] = []  # in the order of the cache's slots
    while True:
        while prompts := _take(next_prompt, slots - len(rows)):
            check()  # a model that ends its texts at once never comes to a step
            for prefix, shortlist in starts.of(prompts):
                row = _Row(number := next(numbers), draws.uniform(number).tolist())
                token = int(shortlist.pick(torch.tensor(row.uniform[:1], device=decoder.device)))
                if (sample := row.take(token, draws)) is None:
                    rows.append(row)
                    cache.add(prefix)
                else:
                    yield number, sample
        if not rows:
            return
        check()
        last = torch.tensor([row.ids[-1] for row in rows], device=decoder.device)
        logits = decoder.step(last, cache)
        uniform = torch.tensor([row.uniform[len(row.ids)] for row in rows], device=decoder.device)
        tokens = draws.nucleus.pick(logits, uniform).tolist()
        over: list[tuple[int, Sample]] = []
        for place in reversed(range(len(rows))):  # from the back, where the row that fills a gap comes from
            if (sample := rows[place].take(tokens[place], draws)) is not None:
                over.append((rows[place].number, sample))
                rows[place] = rows[-1]
                rows.pop()
                cache.remove(place)
        yield from over


class _Starts:
    """How texts start, by prompt: a job has few distinct ones, so each is read once."""

    def __init__(self, decoder: LlamaDecoder, draws: Draws) -> None:
        self._decoder, self._draws = decoder, draws
        self._known: OrderedDict[tuple[int, ...], tuple[Tensor, Shortlist]] = OrderedDict()

    def of(self, prompts: list[list[int]]) -> list[tuple[Tensor, Shortlist]]:
        """What the cache holds after each prompt, and what the first new token is picked from."""
        new = [list(prompt) for prompt in dict.fromkeys(map(tuple, prompts)) if prompt not in self._known]
        if new:
            prefixes, logits = self._decoder.prefill(new)
            shortlists = self._draws.nucleus.shortlist(logits)
            for place, prompt in enumerate(new):
                self._known[tuple(prompt)] = prefixes[place], shortlists.row(place)
        found = []
        for key in map(tuple, prompts):
            self._known.move_to_end(key)
            found.append(self._known[key])
        while len(self._known) > _PROMPTS_KEPT:
            self._known.popitem(last=False)
        return found
