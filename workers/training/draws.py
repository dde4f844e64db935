"""What is drawn from a causal language model: how, how much, and by which random numbers."""

from dataclasses import dataclass

import numpy as np

from workers.training.nucleus import Nucleus


@dataclass(frozen=True)
class Sample:
    """`ended` is false if the text ran into the limit before its end-of-text token."""

    ids: list[int]
    ended: bool


@dataclass(frozen=True)
class Draws:
    nucleus: Nucleus
    max_new_tokens: int
    eos_id: int
    seed: int
    first: int = 0
    """The number, among all of the seed's texts, of the first one drawn here: parts drawn apart must not repeat each other."""

    def uniform(self, number: int) -> np.ndarray:
        """The (max_new_tokens,) random numbers in [0, 1) of the text `number`: its own stream, whatever is sampled beside it."""
        # Philox (Salmon et al. 2011) is keyed: streams of one seed are independent without being drawn in order.
        return np.random.Generator(np.random.Philox(key=[self.seed, self.first + number])).random(self.max_new_tokens, dtype=np.float32)
