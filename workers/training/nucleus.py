"""The nucleus (Holtzman et al. 2020): which pieces may come next, and the choice of one of them."""

from dataclasses import dataclass

import torch
from torch import Tensor

_CHUNK = 64
_FEW = 32


@dataclass(frozen=True)
class Shortlist:
    """`ids` (B, k), best first; `cumulative` (B, k): their probabilities summed up, flat from the nucleus' last piece on."""

    ids: Tensor
    cumulative: Tensor

    def pick(self, uniform: Tensor) -> Tensor:
        """(B,) uniform numbers in [0, 1) -> (B,) ids, by inverting the cumulative distribution."""
        # `uniform` scaled by the nucleus' mass; right=True so that a zero-probability piece is never chosen at a tie.
        mass = self.cumulative[:, -1:]
        chosen = torch.searchsorted(self.cumulative, uniform.unsqueeze(1) * mass, right=True)
        last = (self.cumulative < mass).sum(-1, keepdim=True)
        return self.ids.gather(1, torch.minimum(chosen, last)).squeeze(1)

    def row(self, index: int) -> "Shortlist":
        return Shortlist(self.ids[index : index + 1], self.cumulative[index : index + 1])


@dataclass(frozen=True)
class Nucleus:
    """`top_k` bounds the nucleus: the k best pieces are found without sorting the vocabulary."""

    temperature: float
    top_p: float
    top_k: int

    def pick(self, logits: Tensor, uniform: Tensor) -> Tensor:
        """(B, V) logits and (B,) uniform numbers in [0, 1) -> (B,) ids."""
        return self.shortlist(logits).pick(uniform)

    def shortlist(self, logits: Tensor) -> Shortlist:
        """(B, V) logits -> the nucleus of each row."""
        if self.temperature != 1:  # a pass over the whole vocabulary that is worth sparing
            logits = logits.float() / self.temperature
        probabilities = logits.softmax(-1, dtype=torch.float32)
        width = min(self.top_k, logits.shape[-1])
        few = min(_FEW, width)
        best, ids = _top(probabilities, few)
        if few < width:
            # Most nuclei are small: only rows whose few best pieces fall short of top_p need all k.
            wide = (best.sum(-1) < self.top_p).nonzero().squeeze(1)
            if len(wide):
                best, ids = (torch.nn.functional.pad(part, (0, width - few)) for part in (best, ids))
                best[wide], ids[wide] = probabilities[wide].topk(width)
        before = best.cumsum(-1) - best
        return Shortlist(ids, (best * (before < self.top_p)).cumsum(-1))


def _top(values: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """`values.topk(count)`, in one pass over the row: the best `count` values lie in the `count` chunks with the best maxima."""
    rows, width = values.shape
    whole = width // _CHUNK
    if whole < 2 * count:
        return values.topk(count)
    chunks = values[:, : whole * _CHUNK].unflatten(1, (whole, _CHUNK))
    best = chunks.amax(-1).topk(count).indices
    candidates = chunks.gather(1, best.unsqueeze(-1).expand(-1, -1, _CHUNK)).flatten(1)
    ids = (best.unsqueeze(-1) * _CHUNK + torch.arange(_CHUNK, device=values.device)).flatten(1)
    rest = torch.arange(whole * _CHUNK, width, device=values.device)
    candidates = torch.cat([candidates, values[:, whole * _CHUNK :]], dim=1)
    ids = torch.cat([ids, rest.expand(rows, -1)], dim=1)
    found, places = candidates.topk(count)
    return found, ids.gather(1, places)
