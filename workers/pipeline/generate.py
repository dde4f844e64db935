"""Stage 3: sample new texts from the generator until the quota of kept ones is reached; in shards, which are put together in the end."""

import json
import math
import statistics
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

import torch
from transformers import AutoTokenizer

from app.contracts.spec import GenerateSpec, GeneratorSpec
from workers.training.causal import load_generator, prompt_ids
from workers.training.devices import pick_device, use_bf16
from workers.training.draws import Draws
from workers.training.filters import TextFilter, Verdict
from workers.training.memorisation import memorisation
from workers.training.nucleus import Nucleus
from workers.training.prompts import prompt
from workers.training.quota import Quota
from workers.training.recorder import Recorder
from workers.training.sampling import in_order, sample_stream
from workers.training.split import Lineage, Split

TEXTS_FILE = "texts.jsonl"
_STREAM = 2**40
"""Random numbers between two shards: more than any shard has texts."""
_SPARE = 0.02
"""More texts that each shard keeps: some are near duplicates of other shards' texts."""
_SHOWN = 60
"""Kept texts of a job that are told as events, evenly as they come."""
_SHOWN_CHARS = 500


@dataclass(frozen=True)
class GenerateInputs:
    """`shrink` divides the batch size, where memory is short. `tell`: whether some of the kept texts are told as events."""

    split: Split
    generator: Path
    generator_spec: GeneratorSpec
    spec: GenerateSpec
    shrink: int = 1
    tell: bool = True


@dataclass(frozen=True)
class GenerateMetrics:
    """`verdicts` counts all samples; `kept_by_label` is empty without conditioning; `shortfall`: why kept < quota.

    `memorisation`: fields of `Memorisation`.
    """

    quota: int
    verdicts: dict[str, int]
    kept_by_label: dict[str, int]
    shortfall: str | None
    memorisation: dict[str, Any]


@dataclass(frozen=True)
class ShardMetrics:
    verdicts: dict[str, int]


def shard_sizes(inputs: GenerateInputs) -> list[int]:
    """Texts that each shard is to keep. They follow from spec and rows, so the result does not depend on who samples what."""
    texts, mean = _quota(inputs)
    of = inputs.spec.shards(texts, mean)
    return [math.ceil(texts / of * (1 + _SPARE))] * of if of > 1 else [texts]


def generate_shard(inputs: GenerateInputs, number: int, out: Path, recorder: Recorder) -> ShardMetrics:
    """Samples the shard `number`, counted from 1, as if there were no other; writes `texts.jsonl` to `out`."""
    sizes = shard_sizes(inputs)
    size = sizes[number - 1]
    quota = Quota(inputs.split.labels, size, int(size * inputs.spec.max_attempts))
    verdicts = _no_verdicts()
    with (out / TEXTS_FILE).open("w", encoding="utf-8") as file:
        _sample(inputs, number, quota, _judge(inputs), file, verdicts, recorder, _shown(number, len(sizes)))
    return ShardMetrics(dict(verdicts))


def generate(inputs: GenerateInputs, shards: Sequence[Path], out: Path, recorder: Recorder) -> GenerateMetrics:
    """Writes `texts.jsonl` to `out`: text, asked label and verdict of every sample.

    `shards`: folders of `generate_shard` in their order, whose texts are judged once more, as one stream. What they leave missing, which
    is everything if there are none, is sampled here. The asked label steers the sampling and is balanced over the kept texts; it is no
    target for the student.
    """
    spec, labels = inputs.spec, inputs.split.labels
    texts = 0 if spec.texts == 0 else _quota(inputs)[0]
    quota, verdicts = Quota(labels, texts, int(texts * spec.max_attempts)), _no_verdicts()
    with (out / TEXTS_FILE).open("w", encoding="utf-8") as file:
        judge = _judge(inputs)
        for sample in _read(shards):
            if quota.reached:
                break
            if sample["verdict"] == Verdict.KEPT:
                sample["verdict"] = judge.judge(sample["text"], ended=True)
            verdicts[sample["verdict"]] += 1
            asked = sample["label"] or labels[quota.judged % len(labels)]  # without conditioning no label was asked for
            quota.note_earlier(asked, sample["verdict"] == Verdict.KEPT)
            _write(file, sample)
            recorder.progress(verdicts[Verdict.KEPT], texts)
        if not quota.reached:
            _sample(inputs, 0, quota, judge, file, verdicts, recorder, 0 if shards else _SHOWN)
    if texts:
        recorder.event("sampled", f"{quota.kept.total()} of {quota.judged} samples kept", drawn=quota.judged, verdicts=dict(verdicts))
    by_label = dict(quota.kept) if inputs.generator_spec.conditioning == "label" else {}
    found = memorisation(_seed_texts(inputs), _read([out]), spec.max_shared_words)
    return GenerateMetrics(texts, dict(verdicts), by_label, _shortfall(quota, verdicts), found.model_dump())


def _sample(
    inputs: GenerateInputs,
    number: int,
    quota: Quota,
    judge: TextFilter,
    file: TextIO,
    verdicts: Counter[str],
    recorder: Recorder,
    shown: int,
) -> None:
    """Samples until the quota is reached, or its limit. `number`: of the stream of random numbers. Tells `shown` of the kept texts."""
    spec, conditioning = inputs.spec, inputs.generator_spec.conditioning
    device = pick_device()
    model, tokenizer = load_generator(
        inputs.generator, torch.bfloat16 if use_bf16(inputs.generator_spec.precision, device) else torch.float32
    )
    torch.nn.Module.to(model, device)  # transformers' own override is not typed
    model.eval()
    prompts = {label: prompt_ids(tokenizer, prompt(label, conditioning)) for label in inputs.split.labels}
    asked: list[str] = []

    def next_prompt() -> list[int] | None:
        if (label := quota.next_label()) is None:
            return None
        asked.append(label)
        return prompts[label]

    nucleus = Nucleus(spec.temperature, spec.top_p, spec.top_k)
    draws = Draws(nucleus, spec.max_new_tokens, tokenizer.eos_token_id, spec.seed, first=number * _STREAM)
    slots = max(1, spec.batch_size // inputs.shrink)
    # In the order they were asked for: the first to end are the shortest, and must not fill the quota.
    for place, sample in in_order(sample_stream(model, next_prompt, slots, draws, recorder.check)):
        text = str(tokenizer.decode(sample.ids, skip_special_tokens=True)).strip()
        verdict = judge.judge(text, sample.ended)
        quota.note(asked[place], verdict == Verdict.KEPT)
        verdicts[verdict] += 1
        wanted = None if conditioning == "none" else asked[place]
        _write(file, {"text": text, "label": wanted, "verdict": verdict})
        if inputs.tell and verdict == Verdict.KEPT and _is_shown(verdicts[verdict], quota.texts, shown):
            recorder.event("sample", _as_event(text), label=wanted)
        recorder.progress(verdicts[Verdict.KEPT], quota.texts)
        if quota.reached:
            break


def _shown(number: int, of: int) -> int:
    """How many of the texts of the shard `number`, counted from 1, are told."""
    return _SHOWN * number // of - _SHOWN * (number - 1) // of


def _is_shown(kept: int, of: int, shown: int) -> bool:
    """Whether the text that was kept as number `kept`, counted from 1, is one of `shown`; the first is."""
    return -(-kept * shown // of) > -(-(kept - 1) * shown // of)


def _as_event(text: str) -> str:
    # PostgreSQL stores no NUL, and a generator of bytes may write one.
    text = text.replace("\0", "\ufffd")
    return text if len(text) <= _SHOWN_CHARS else f"{text[:_SHOWN_CHARS]}…"


def _quota(inputs: GenerateInputs) -> tuple[int, float]:
    """Texts to keep, and how many tokens a seed row has on the mean, with the one that ends it."""
    tokenizer = AutoTokenizer.from_pretrained(inputs.generator, local_files_only=True, trust_remote_code=False)
    seeds = _seed_texts(inputs)
    mean = statistics.mean(len(ids) + 1 for ids in tokenizer(seeds).input_ids)
    return inputs.spec.quota(len(seeds), mean), mean


def _seed_texts(inputs: GenerateInputs) -> list[str]:
    return [row.text for row in inputs.split.seed_rows(Lineage.MEASURED)]


def _judge(inputs: GenerateInputs) -> TextFilter:
    return TextFilter(_seed_texts(inputs), inputs.spec.near_duplicate, inputs.spec.max_shared_words)


def _no_verdicts() -> Counter[str]:
    return Counter({verdict.value: 0 for verdict in Verdict})


def _read(shards: Sequence[Path]) -> Iterator[dict[str, Any]]:
    for folder in shards:
        with (folder / TEXTS_FILE).open(encoding="utf-8", newline="\n") as file:
            yield from map(json.loads, file)


def _write(file: TextIO, sample: dict[str, Any]) -> None:
    file.write(json.dumps(sample, ensure_ascii=False) + "\n")


def _shortfall(quota: Quota, verdicts: Counter[str]) -> str | None:
    if quota.reached:
        return None
    drawn = sum(verdicts.values())
    dropped = ", ".join(f"{count} {verdict}" for verdict, count in verdicts.most_common() if count and verdict != Verdict.KEPT)
    few = ", ".join(f"{label} {count}" for label, count in sorted(quota.kept.items(), key=lambda item: item[1])[:3])
    return (
        f"{verdicts[Verdict.KEPT]} of {quota.texts} texts kept after {drawn} samples, the most that max_attempts allows ({dropped}; "
        f"fewest kept: {few}). Raise spec.generate.max_attempts or spec.generate.temperature, or ask for fewer texts."
    )
