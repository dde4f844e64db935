"""The reference of the drift report.

It is the holdout, however small, and not the transfer set: the published student has learned from those texts, so it is surer of them than
of any live one, and their labels are shared out by quota. What few rows leave open, the report's test takes into account.
"""

import json

import numpy as np
from tokenizers import Tokenizer
from torch import Tensor

from app.contracts.profile import SCORE_BINS, Profile, score_bin
from workers.training.calibration import Floats, softmax


def holdout_profile(logits: Tensor, temperature: float, labels: list[str], ids: list[list[int]], unknown: set[int]) -> Profile:
    """`logits` (N, C) of a student that has not learned from these N texts, the temperature that makes its scores honest, and their ids."""
    numbers: Floats = logits.double().numpy()
    bins = list(map(score_bin, softmax(numbers, temperature).max(1).tolist()))
    answers = np.bincount(numbers.argmax(1), minlength=len(labels)).tolist()
    return Profile(
        rows=len(ids),
        labels=dict(zip(labels, answers, strict=True)),
        scores=np.bincount(bins, minlength=SCORE_BINS).tolist(),
        pieces=sum(map(len, ids)),
        unknown=sum(piece in unknown for row in ids for piece in row),
    )


def unknown_pieces(tokenizer: Tokenizer, rows: Tensor | None) -> set[int]:
    """Ids that the student cannot tell from another: the tokenizer's unknown piece, and those that share a row. `rows`: id -> row."""
    model = json.loads(tokenizer.to_str())["model"]
    piece = model.get("unk_token")
    unknown = tokenizer.token_to_id(piece) if piece else model.get("unk_id")
    found = set() if unknown is None else {int(unknown)}
    if rows is not None:
        found.update((rows.bincount()[rows] > 1).nonzero().flatten().tolist())
    return found
