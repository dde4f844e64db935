"""Models of two layers with random weights, whose vocabulary is that of the bundled example."""

import csv
import re
from pathlib import Path

from tests.docs.blocks import ROOT
from tests.workers.tiny import causal_tokenizer, save_encoder, save_llama

WIDTH = 64


def example_texts() -> list[str]:
    with (ROOT / "examples" / "banking10.csv").open(newline="") as file:
        return [row["text"] for row in csv.DictReader(file)]


def save_models(folder: Path) -> Path:
    """`encoder` and `llama` below the folder."""
    texts = example_texts()
    words = dict.fromkeys(word for text in texts for word in re.findall(r"[a-z0-9]+", text.lower()))
    save_encoder(folder / "encoder", positions=128, words=["$", *words], width=WIDTH)
    save_llama(folder / "llama", tokenizer=causal_tokenizer(texts, 1500), width=WIDTH)
    return folder
