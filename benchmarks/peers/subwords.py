"""fastText (Joulin et al. 2017), supervised: at its defaults, and with its own autotuning."""

import random
import re
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

import fasttext

from benchmarks.peers.protocol import PeerAnswer, PeerRequest, timed_answers

_TUNED = ("lr", "dim", "epoch", "wordNgrams", "minCount", "minn", "maxn", "bucket", "neg", "ws")


def fasttext_supervised(request: PeerRequest, autotuned: bool) -> PeerAnswer:
    """Autotuning searches on a validation part; what it found then trains on all rows. One thread: a seed holds with one alone."""
    names = sorted(set(request.labels))
    index = {name: position for position, name in enumerate(names)}
    lines = [f"__label__{index[label]} {prepared(text)}\n" for text, label in zip(request.texts, request.labels, strict=True)]
    # It reads its file in order, pass for pass: rows that lie label by label would ruin it.
    order = random.Random(request.seed).sample(range(len(lines)), len(lines))
    start = time.perf_counter()
    found = _autotune(request, lines) if autotuned else {}
    model = fasttext.train_supervised(
        _file(request, "all.txt", [lines[place] for place in order]), thread=1, seed=request.seed, verbose=0, **found
    )
    seconds = time.perf_counter() - start

    def predict(texts: list[str]) -> list[str]:
        answers, _scores = model.predict([prepared(text) for text in texts])
        return [names[int(answer[0].removeprefix("__label__"))] if answer else names[0] for answer in answers]

    answers, rate = timed_answers(predict, request.test)
    saved = Path(request.scratch) / "fasttext.bin"
    model.save_model(str(saved))
    notes = {"found": found, "settings": {"seconds at most": request.options.autotune_seconds}} if found else {}
    # Not read from its matrices, of which it would hand out copies: autotuning likes two million buckets.
    rows = len(model.get_words()) + len(names) + model.f.getArgs().bucket
    return PeerAnswer(answers, rows * model.get_dimension(), saved.stat().st_size, seconds, rate, notes)


def _autotune(request: PeerRequest, lines: list[str]) -> dict[str, Any]:
    by_label: dict[str, list[str]] = defaultdict(list)
    for line, label in zip(lines, request.labels, strict=True):
        by_label[label].append(line)
    rng = random.Random(request.seed)
    train: list[str] = []
    validation: list[str] = []
    for label in sorted(by_label):
        members = by_label[label]
        rng.shuffle(members)
        held = min(max(1, round(len(members) * request.options.validation_fraction)), len(members) - 1)
        validation += members[:held]
        train += members[held:]
    rng.shuffle(train)
    best = fasttext.train_supervised(
        _file(request, "train.txt", train),
        autotuneValidationFile=_file(request, "validation.txt", validation),
        autotuneDuration=request.options.autotune_seconds,
        thread=1,
        seed=request.seed,
        verbose=0,
    )
    arguments = best.f.getArgs()
    return {**{name: getattr(arguments, name) for name in _TUNED}, "loss": arguments.loss.name}


def _file(request: PeerRequest, name: str, lines: list[str]) -> str:
    path = Path(request.scratch) / name
    path.write_text("".join(lines), encoding="utf-8")
    return str(path)


def prepared(text: str) -> str:
    """Lower case, punctuation apart, as in fastText's tutorial on classification; a line holds one text."""
    return " ".join(re.sub(r"([.!?,'/()])", r" \1 ", text).lower().split())
