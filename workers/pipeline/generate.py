"""Stage 3: sample new texts from the generator until the quota of kept ones is reached."""

import json
import statistics
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

import torch

from app.contracts.spec import GenerateSpec, GeneratorSpec
from workers.training.causal import load_generator, prompt_ids
from workers.training.devices import pick_device, use_bf16
from workers.training.draws import Draws
from workers.training.filters import TextFilter, Verdict
from workers.training.nucleus import Nucleus
from workers.training.prompts import prompt
from workers.training.quota import Quota
from workers.training.recorder import Recorder
from workers.training.sampling import in_order, sample_stream
from workers.training.split import Lineage, Split

TEXTS_FILE = "texts.jsonl"


@dataclass(frozen=True)
class GenerateInputs:
    split: Split
    generator: Path
    generator_spec: GeneratorSpec
    spec: GenerateSpec


@dataclass(frozen=True)
class GenerateMetrics:
    """`verdicts` counts all samples; `kept_by_label` is empty without conditioning; `shortfall`: why kept < quota."""

    quota: int
    verdicts: dict[str, int]
    kept_by_label: dict[str, int]
    shortfall: str | None


def generate(inputs: GenerateInputs, out: Path, recorder: Recorder) -> GenerateMetrics:
    """Writes `texts.jsonl` to `out`: text, asked label and verdict of every sample.

    The asked label steers the sampling and is balanced over the kept texts; it is no target for the student.
    """
    spec, split = inputs.spec, inputs.split
    verdicts: Counter[str] = Counter({verdict.value: 0 for verdict in Verdict})
    kept: Counter[str] = Counter(dict.fromkeys(split.labels, 0))
    with (out / TEXTS_FILE).open("w", encoding="utf-8") as file:
        quota = _sample_all(inputs, file, verdicts, kept, recorder) if spec.texts != 0 else 0
    shortfall = None
    if verdicts[Verdict.KEPT] < quota:
        drawn = sum(verdicts.values())
        dropped = ", ".join(f"{count} {verdict}" for verdict, count in verdicts.most_common() if count and verdict != Verdict.KEPT)
        few = ", ".join(f"{label} {count}" for label, count in sorted(kept.items(), key=lambda item: item[1])[:3])
        shortfall = (
            f"{verdicts[Verdict.KEPT]} of {quota} texts kept after {drawn} samples, the most that max_attempts allows ({dropped}; "
            f"fewest kept: {few}). Raise spec.generate.max_attempts or spec.generate.temperature, or ask for fewer texts."
        )
    by_label = dict(kept) if inputs.generator_spec.conditioning == "label" else {}
    return GenerateMetrics(quota, dict(verdicts), by_label, shortfall)


def _sample_all(inputs: GenerateInputs, file: TextIO, verdicts: Counter[str], kept: Counter[str], recorder: Recorder) -> int:
    """Returns the quota of texts that it aimed at."""
    spec, split, conditioning = inputs.spec, inputs.split, inputs.generator_spec.conditioning
    device = pick_device()
    model, tokenizer = load_generator(
        inputs.generator, torch.bfloat16 if use_bf16(inputs.generator_spec.precision, device) else torch.float32
    )
    torch.nn.Module.to(model, device)  # transformers' own override is not typed
    model.eval()
    prompts = {label: prompt_ids(tokenizer, prompt(label, conditioning)) for label in split.labels}
    seeds = [row.text for row in split.seed_rows(Lineage.MEASURED)]
    texts = spec.quota(len(seeds), statistics.mean(len(ids) + 1 for ids in tokenizer(seeds).input_ids))  # and the one that ends it
    judge = TextFilter(seeds, spec.near_duplicate)
    nucleus = Nucleus(spec.temperature, spec.top_p, spec.top_k)
    quota = Quota(split.labels, texts, int(texts * spec.max_attempts))
    asked: list[str] = []

    def next_prompt() -> list[int] | None:
        if (label := quota.next_label()) is None:
            return None
        asked.append(label)
        return prompts[label]

    draws = Draws(nucleus, spec.max_new_tokens, tokenizer.eos_token_id, spec.seed)
    # In the order they were asked for: the first to end are the shortest, and must not fill the quota.
    for number, sample in in_order(sample_stream(model, next_prompt, spec.batch_size, draws, recorder.check)):
        label = asked[number]
        text = str(tokenizer.decode(sample.ids, skip_special_tokens=True)).strip()
        verdict = judge.judge(text, sample.ended)
        verdicts[verdict] += 1
        quota.note(label, verdict == Verdict.KEPT)
        wanted = None if conditioning == "none" else label
        file.write(json.dumps({"text": text, "label": wanted, "verdict": verdict}, ensure_ascii=False) + "\n")
        recorder.progress(verdicts[Verdict.KEPT], texts)
        if quota.reached:
            break
    kept.update(quota.kept)
    recorder.event("sampled", f"{quota.kept.total()} of {quota.judged} samples kept", drawn=quota.judged, verdicts=dict(verdicts))
    return texts
