"""The transfer set on disk: `transfer.jsonl` (part, text, label) and the teacher's logits, row by row."""

import json
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor

TRANSFER_FILE = "transfer.jsonl"
LOGITS_FILE = "logits.safetensors"


@dataclass(frozen=True)
class TransferPart:
    """`logits` (N, C) of the teacher; `hard` (N,): the known label, or for a generated text the teacher's answer."""

    texts: list[str]
    logits: Tensor
    hard: Tensor

    def repeat(self, times: int) -> "TransferPart":
        return TransferPart(self.texts * times, self.logits.repeat(times, 1), self.hard.repeat(times))

    def __add__(self, other: "TransferPart") -> "TransferPart":
        return TransferPart(self.texts + other.texts, torch.cat([self.logits, other.logits]), torch.cat([self.hard, other.hard]))


def read_transfer(folder: Path, labels: list[str]) -> dict[str, TransferPart]:
    """The parts `train`, `validation` and `generated`."""
    rows = [json.loads(line) for line in (folder / TRANSFER_FILE).read_text(encoding="utf-8").split("\n") if line]
    logits = load_file(folder / LOGITS_FILE)["logits"]
    index = {label: position for position, label in enumerate(labels)}
    parts = {}
    for part in ("train", "validation", "generated"):
        places = [place for place, row in enumerate(rows) if row["part"] == part]
        answers = logits[places].argmax(-1).tolist()
        hard = [
            index[rows[place]["label"]] if rows[place]["label"] is not None else answer
            for place, answer in zip(places, answers, strict=True)
        ]
        parts[part] = TransferPart([rows[place]["text"] for place in places], logits[places], torch.tensor(hard, dtype=torch.int64))
    return parts
