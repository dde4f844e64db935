"""A training that can be left after any step and taken up by another process as if never stopped."""

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from workers.training.batching import shuffled_batches
from workers.training.recorder import State


class EpochOrder:
    """The batches of one pass over the rows after another, shuffled by `rng`, which may be drawn from between batches too."""

    def __init__(self, lengths: Sequence[int], batch_size: int, rng: random.Random) -> None:
        self._lengths, self._batch_size, self.rng = lengths, batch_size, rng
        self._start = rng.getstate()
        self.taken = 0
        """Batches of the pass under way. The one in hand counts, so a state made after its step is right."""

    def rest(self) -> Iterator[list[int]]:
        """What is left of the pass under way, or a whole new one."""
        now = self.rng.getstate()
        self.rng.setstate(self._start)
        batches = list(shuffled_batches(self._lengths, self._batch_size, self.rng))
        if self.taken:
            self.rng.setstate(now)
        for batch in batches[self.taken :]:
            self.taken += 1
            yield batch

    def end(self) -> None:
        """Ends the pass, with or without its last batches."""
        self._start = self.rng.getstate()
        self.taken = 0

    def state(self) -> State:
        return {"start": _plain(self._start), "now": _plain(self.rng.getstate()), "taken": self.taken}

    def restore(self, state: State) -> None:
        self._start, self.taken = _random_state(state["start"]), state["taken"]
        self.rng.setstate(_random_state(state["now"]))


@dataclass(frozen=True)
class Training:
    """What the next step depends on, beside the rows, the spec and the weights that are frozen."""

    module: nn.Module
    optimizer: Optimizer
    schedule: LRScheduler
    order: EpochOrder

    def state(self) -> State:
        """The tensors are the live ones."""
        return {
            "weights": trained_weights(self.module),
            "optimizer": self.optimizer.state_dict(),
            "schedule": self.schedule.state_dict(),
            "order": self.order.state(),
            "torch": {"cpu": torch.get_rng_state(), "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []},
        }

    def restore(self, state: State) -> None:
        """Empties `state`: the weights would stay in memory twice."""
        put_weights(self.module, state.pop("weights"))
        self.optimizer.load_state_dict(state.pop("optimizer"))
        self.schedule.load_state_dict(state.pop("schedule"))
        self.order.restore(state.pop("order"))
        generators = state.pop("torch")
        torch.set_rng_state(generators["cpu"])
        for device, generator in enumerate(generators["cuda"][: torch.cuda.device_count()]):
            torch.cuda.set_rng_state(generator, device)


def trained_weights(module: nn.Module) -> dict[str, Tensor]:
    """All of `module` but the frozen parameters, which are in the model's own files."""
    frozen = {name for name, parameter in module.named_parameters(remove_duplicate=False) if not parameter.requires_grad}
    return {name: tensor for name, tensor in module.state_dict().items() if name not in frozen}


def put_weights(module: nn.Module, weights: Mapping[str, Tensor]) -> None:
    """In place: optimizers and tied weights keep their tensors."""
    own = module.state_dict()
    for name, tensor in weights.items():
        own[name].copy_(tensor)


def _plain(state: tuple[Any, ...]) -> list[Any]:
    version, words, gauss = state
    return [version, list(words), gauss]


def _random_state(plain: list[Any]) -> tuple[Any, ...]:
    version, words, gauss = plain
    return version, tuple(words), gauss
