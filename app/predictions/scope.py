"""How far a text is from anything the student knows, told from its probabilities alone."""

import numpy as np
from numpy.typing import NDArray

SCOPE_TEMPERATURE = 4.0


def out_of_scope(probabilities: NDArray[np.float64], temperature: float) -> NDArray[np.float64]:
    """(N, C) -> (N,), from 0, one label alone is likely, to 1, all are alike: the entropy at a high temperature, over its maximum.

    At the temperature that makes scores honest the runners-up hardly count; raised, as in ODIN (Liang et al. 2018), they tell texts of
    another kind apart. `temperature`: the one at which the probabilities were made of the logits.
    """
    # The logits up to a constant a row, which the softmax does not see; a probability of 0 is one that was too small to hold.
    logits = np.log(np.maximum(probabilities, np.finfo(np.float64).tiny)) * temperature / SCOPE_TEMPERATURE
    logits -= logits.max(axis=1, keepdims=True)
    raised = np.exp(logits)
    total = raised.sum(axis=1)
    entropy = np.log(total) - (raised * logits).sum(axis=1) / total
    found: NDArray[np.float64] = np.clip(entropy / np.log(max(2, probabilities.shape[1])), 0.0, 1.0)
    return found
