"""The transfer set on disk: `transfer.jsonl` (part, text, label, within) and each teacher's logits, row by row."""

import json
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor

from workers.training.split import Lineage

TRANSFER_FILE = "transfer.jsonl"
LOGITS_FILE = "logits.safetensors"


class Part(StrEnum):
    """In the order of the file. `recombined_seed` is made of seed rows alone, `recombined` of generated texts too.

    `holdout` comes last and has no logits of the measured teacher: its student has nothing to do there.
    """

    SEED = "seed"
    RECOMBINED_SEED = "recombined_seed"
    GENERATED = "generated"
    RECOMBINED = "recombined"
    HOLDOUT = "holdout"


RECOMBINED_PARTS = frozenset({Part.RECOMBINED_SEED, Part.RECOMBINED})
"""Read by the measured teacher alone."""


@dataclass(frozen=True)
class TransferPart:
    """`logits` (N, C) of the teacher; `hard` (N,): the known label, or for a text without one the teacher's answer.

    `within`: the number of generated texts, one of the curve's or all of them, that hold this one or all it is made of; 0 for seed rows.
    """

    texts: list[str]
    logits: Tensor
    hard: Tensor
    within: list[int]


def read_transfer(folder: Path, labels: list[str], lineage: Lineage) -> dict[Part, TransferPart]:
    """All parts that have logits of the lineage's teacher."""
    rows = [json.loads(line) for line in (folder / TRANSFER_FILE).read_text(encoding="utf-8").split("\n") if line]
    logits = load_file(folder / LOGITS_FILE)[lineage]
    rows = rows[: len(logits)]
    index = {label: position for position, label in enumerate(labels)}
    parts = {}
    for part in Part:
        places = [place for place, row in enumerate(rows) if row["part"] == part]
        answers = logits[places].argmax(-1).tolist()
        hard = [
            index[rows[place]["label"]] if rows[place]["label"] is not None else answer
            for place, answer in zip(places, answers, strict=True)
        ]
        texts, within = ([rows[place][name] for place in places] for name in ("text", "within"))
        parts[part] = TransferPart(texts, logits[places], torch.tensor(hard, dtype=torch.int64), within)
    return parts
