"""Classifies texts with the student in this folder. Needs three packages: pip install numpy onnxruntime tokenizers

python predict.py "Where is my card?" "Why the fee?"      one line of JSON for each text
python predict.py --top-k 3 < texts.txt                   one text a line

from predict import Student
Student("folder").predict(["Where is my card?"])
"""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from tokenizers import Tokenizer

BATCH_TOKENS = 2048


class Student:
    """Reads `student.onnx`, `tokenizer.json` and `student.json` from a folder. Safe to share between threads."""

    def __init__(self, folder: str | Path = Path(__file__).parent) -> None:
        folder = Path(folder)
        self.manifest: dict[str, Any] = json.loads((folder / "student.json").read_text(encoding="utf-8"))
        self.labels: list[str] = self.manifest["labels"]
        self.tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self.tokenizer.no_padding()
        self.tokenizer.enable_truncation(max_length=self.manifest["max_tokens"])
        self.session = onnxruntime.InferenceSession(str(folder / "student.onnx"), providers=["CPUExecutionProvider"])

    def predict(self, texts: list[str], top_k: int = 1) -> list[dict[str, Any]]:
        """For each text the best label, its score, and the `top_k` best labels with theirs."""
        answers = []
        for row in self.probabilities(texts):
            best = np.argsort(-row, kind="stable")[:top_k]
            scores = [{"label": self.labels[index], "score": float(row[index])} for index in best]
            answers.append({**scores[0], "scores": scores})
        return answers

    def probabilities(self, texts: list[str]) -> NDArray[np.float64]:
        """(N, C): softmax(logits / temperature), in the order of the texts and of `labels`."""
        pad = self.manifest["pad_id"]
        ids = [encoding.ids or [pad] for encoding in self.tokenizer.encode_batch(texts, add_special_tokens=False)]
        lengths = np.array([len(pieces) for pieces in ids], np.int64)
        logits = np.empty((len(texts), len(self.labels)), np.float64)
        order = np.argsort(lengths, kind="stable")  # so that a batch holds little padding
        while len(order):
            # The batches that the service makes: how texts are put together moves the last bits of a score.
            last = min(max(1, BATCH_TOKENS // lengths[order[0]]), len(order)) - 1
            batch = order[: max(1, min(last + 1, BATCH_TOKENS // lengths[order[last]]))]
            order = order[len(batch) :]
            padded = np.full((len(batch), lengths[batch[-1]]), pad, np.int64)
            for row, index in zip(padded, batch, strict=True):
                row[: lengths[index]] = ids[index]
            logits[batch] = self.session.run(["logits"], {"input_ids": padded})[0]
        logits /= self.manifest.get("temperature", 1.0)
        exponentials = np.exp(logits - logits.max(axis=1, keepdims=True))
        return np.asarray(exponentials / exponentials.sum(axis=1, keepdims=True))


def main() -> None:
    parser = argparse.ArgumentParser(description="Prints one line of JSON for each text.")
    parser.add_argument("texts", nargs="*", metavar="TEXT", help="without any, texts are read from standard input, one a line")
    parser.add_argument("--top-k", type=int, default=1, help="labels in `scores`")
    arguments = parser.parse_args()
    texts = arguments.texts or [line.decode().rstrip("\r\n") for line in sys.stdin.buffer]
    if arguments.top_k < 1:
        parser.error("--top-k must be at least 1")
    if texts:
        for text, answer in zip(texts, Student().predict(texts, arguments.top_k), strict=True):
            print(json.dumps({"text": text, **answer}))


if __name__ == "__main__":
    main()
