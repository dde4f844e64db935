"""Our sampler beside transformers' `generate()`: the same generator, precision, settings and filter, in one run, taking turns.

Each contestant first finds its best batch size. Then they take turns, in an order that changes from round to round, and the medians are
compared. Those that sample in batches draw a quarter of the texts: each batch starts anew, so one tells what the next would take; ours
draws all of them, as its first and last steps weigh less the longer it goes on. Written to `benchmarks/results/<name>.json` and `.md`.
"""

import csv
import json
import os
import platform
import shlex
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from functools import partial
from importlib.metadata import version
from itertools import cycle, islice
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from app.contracts.presets import resolve_spec
from app.contracts.rows import Row
from workers.models import resolve_model
from workers.pipeline.finetune_generator import GeneratorInputs, finetune_generator
from workers.training.batch_sampling import sample_batch
from workers.training.causal import load_generator, prompt_ids
from workers.training.devices import pick_device, use_bf16
from workers.training.draws import Draws, Sample
from workers.training.filters import TextFilter, Verdict
from workers.training.nucleus import Nucleus
from workers.training.prompts import prompt
from workers.training.recorder import NullRecorder
from workers.training.sampling import in_order, sample_stream
from workers.training.split import Lineage, Split, split_rows

HERE = Path(__file__).parent
SPEC = resolve_spec("fast", {})
SIZES = [32, 64, 128, 256]
PACKAGES = ("torch", "transformers", "tokenizers", "numpy")


@dataclass(frozen=True)
class Bench:
    """What all contestants share."""

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    split: Split
    texts: int

    def prompts(self) -> list[list[int]]:
        """One a text, the labels in turn."""
        ids = [prompt_ids(self.tokenizer, prompt(label, SPEC.generator.conditioning)) for label in self.split.labels]
        return list(islice(cycle(ids), self.texts))

    def draws(self, seed: int) -> Draws:
        spec, eos_id = SPEC.generate, self.tokenizer.eos_token_id
        return Draws(Nucleus(spec.temperature, spec.top_p, spec.top_k), spec.max_new_tokens, eos_id, seed)


@dataclass(frozen=True)
class Round:
    seconds: float
    texts: int
    kept: int
    tokens: int

    @property
    def kept_a_second(self) -> float:
        return self.kept / self.seconds


Contestant = Callable[[Bench, int, int], list[Sample]]
"""Draws a sample for each of the bench's prompts, given a batch size and a seed."""


def ours(bench: Bench, size: int, seed: int) -> list[Sample]:
    waiting = iter(bench.prompts())
    samples = sample_stream(bench.model, lambda: next(waiting, None), size, bench.draws(seed), _never)
    return [sample for _, sample in in_order(samples)]


def ours_in_batches(bench: Bench, size: int, seed: int) -> list[Sample]:
    """What models of other types than Llama get: ended rows are left out, none is refilled."""
    prompts, draws = bench.prompts(), bench.draws(seed)
    starts = range(0, len(prompts), size)
    return [sample for start in starts for sample in sample_batch(bench.model, prompts[start : start + size], start, draws, _never)]


def transformers_generate(bench: Bench, size: int, seed: int, top_k: int = SPEC.generate.top_k) -> list[Sample]:
    torch.manual_seed(seed)
    prompts, spec, end = bench.prompts(), SPEC.generate, bench.tokenizer.eos_token_id
    model: Any = bench.model
    samples: list[Sample] = []
    for start in range(0, len(prompts), size):
        batch = prompts[start : start + size]
        width = max(len(prompt) for prompt in batch)
        ids = torch.tensor([[end] * (width - len(prompt)) + prompt for prompt in batch], device=model.device)
        mask = torch.tensor([[0] * (width - len(prompt)) + [1] * len(prompt) for prompt in batch], device=model.device)
        with torch.inference_mode():
            whole = model.generate(
                input_ids=ids,
                attention_mask=mask,
                do_sample=True,
                temperature=spec.temperature,
                top_p=spec.top_p,
                top_k=top_k,
                max_new_tokens=spec.max_new_tokens,
                eos_token_id=end,
                pad_token_id=end,
            )
        for row in whole[:, width:].tolist():
            length = row.index(end) if end in row else len(row)
            samples.append(Sample(row[:length], ended=end in row))
    return samples


OURS, BATCHES = "gendistil", "gendistil, without refill"
TRANSFORMERS, DEFAULT_TOP_K = "transformers generate, our top_k", "transformers generate, its default top_k of 50"
CONTESTANTS: dict[str, Contestant] = {
    OURS: ours,
    BATCHES: ours_in_batches,
    TRANSFORMERS: transformers_generate,
    DEFAULT_TOP_K: partial(transformers_generate, top_k=50),
}


def _never() -> None:
    """Nothing stops a benchmark."""


def measure(contestant: Contestant, bench: Bench, size: int, seed: int) -> Round:
    """Draws, decodes and judges, as the stage does."""
    judge = TextFilter([row.text for row in bench.split.seed_rows(Lineage.MEASURED)], SPEC.generate.near_duplicate)
    began = time.perf_counter()
    samples = contestant(bench, size, seed)
    texts = [str(bench.tokenizer.decode(sample.ids, skip_special_tokens=True)).strip() for sample in samples]
    kept = sum(judge.judge(text, sample.ended) == Verdict.KEPT for text, sample in zip(texts, samples, strict=True))
    seconds = time.perf_counter() - began
    return Round(seconds, len(samples), kept, sum(len(sample.ids) + sample.ended for sample in samples))


def main(
    generator: Annotated[
        Path | None, typer.Option(help="A finetuned generator; default: the embedded one, after an epoch on --rows.")
    ] = None,
    rows: Annotated[Path, typer.Option(help="CSV with text and label.")] = HERE.parent / "examples" / "banking10.csv",
    texts: Annotated[int, typer.Option(help="Drawn in each round by ours.")] = 1024,
    rounds: Annotated[int, typer.Option(min=1)] = 3,
    sizes: Annotated[list[int], typer.Option("--size", help="Batch sizes to try.")] = SIZES,
    name: Annotated[str, typer.Option(help="Of the result files.")] = "sampling",
) -> None:
    """Time both samplers on the same generator, and write the table."""
    with rows.open(encoding="utf-8", newline="") as file:
        split = split_rows([Row(row["text"], row["label"]) for row in csv.DictReader(file)], [], SPEC.split)
    with tempfile.TemporaryDirectory() as folder:
        model, tokenizer = _load(generator or _finetune(split, Path(folder)))
    bench = Bench(model, tokenizer, split, texts)
    tried: dict[str, dict[int, Round]] = {entry: {} for entry in CONTESTANTS}

    def try_size(entry: str, size: int) -> None:
        few = replace(bench, texts=texts // 2 if entry == OURS else min(size, texts))
        tried[entry][size] = measure(CONTESTANTS[entry], few, size, seed=0)
        print(f"{entry}, {size}: {_line(tried[entry][size])}", flush=True)

    for size in sizes:
        for entry in (OURS, BATCHES, TRANSFORMERS):
            try_size(entry, size)
    best = {entry: max(sizes, key=lambda size: _rate(tried[entry][size])) for entry in (OURS, BATCHES, TRANSFORMERS)}
    best[DEFAULT_TOP_K] = best[TRANSFORMERS]
    try_size(DEFAULT_TOP_K, best[DEFAULT_TOP_K])
    taking_part = [OURS, BATCHES, max((TRANSFORMERS, DEFAULT_TOP_K), key=lambda entry: _rate(tried[entry][best[entry]]))]
    timed: dict[str, list[Round]] = {entry: [] for entry in taking_part}
    for turn in range(rounds):
        for entry in taking_part[turn % 3 :] + taking_part[: turn % 3]:
            size = best[entry]
            part = bench if entry == OURS else replace(bench, texts=max(1, texts // 4 // size) * size)
            timed[entry].append(measure(CONTESTANTS[entry], part, size, seed=turn + 1))
            print(f"round {turn + 1}, {entry}, {size}: {_line(timed[entry][-1])}", flush=True)
    _write(name, tried, best, timed, str(model.dtype).removeprefix("torch."))


def _load(folder: Path) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    device = pick_device()
    model, tokenizer = load_generator(folder, torch.bfloat16 if use_bf16(SPEC.generator.precision, device) else torch.float32)
    torch.nn.Module.to(model, device)  # transformers' own override is not typed
    return model.eval(), tokenizer


def _finetune(split: Split, folder: Path) -> Path:
    out = folder / "generator"
    out.mkdir()
    pretrained = resolve_model(SPEC.generator.model, folder / "models").path
    finetune_generator(GeneratorInputs(split, pretrained, SPEC.generator), out, NullRecorder())
    return out


def _rate(round_: Round) -> float:
    """Texts a second: one batch is too few to tell what a filter would drop."""
    return round_.texts / round_.seconds


def _line(round_: Round) -> str:
    return f"{_rate(round_):.2f} texts/s, {round_.kept_a_second:.2f} kept/s, {round_.tokens / round_.seconds:.0f} tokens/s"


def _write(name: str, tried: dict[str, dict[int, Round]], best: dict[str, int], timed: dict[str, list[Round]], precision: str) -> None:
    medians = {entry: statistics.median(round_.kept_a_second for round_ in timed[entry]) for entry in timed}
    result: dict[str, Any] = {
        "command": shlex.join(["python", "-m", "benchmarks.sampling", *sys.argv[1:]]),
        "machine": {"cores": len(os.sched_getaffinity(0)), "processor": platform.machine(), "python": platform.python_version()},
        "packages": {package: version(package) for package in PACKAGES},
        "precision": precision,
        "tried": {entry: {size: asdict(round_) for size, round_ in sizes.items()} for entry, sizes in tried.items()},
        "best_size": best,
        "rounds": {entry: [asdict(round_) for round_ in rounds] for entry, rounds in timed.items()},
        "kept_texts_a_second": medians,
        "times_transformers": medians[OURS] / max(value for entry, value in medians.items() if entry.startswith("transformers")),
    }
    (HERE / "results").mkdir(exist_ok=True)
    (HERE / "results" / f"{name}.json").write_text(json.dumps(result, indent=1) + "\n")
    table = _table(result, timed)
    (HERE / "results" / f"{name}.md").write_text(table)
    print(table)


def _table(result: dict[str, Any], timed: dict[str, list[Round]]) -> str:
    machine, packages = result["machine"], ", ".join(f"{package} {number}" for package, number in result["packages"].items())
    lines = [
        f"`{result['command']}` on {machine['cores']} cores, {result['precision']}; {packages}.",
        f"Medians of {len(timed[OURS])} rounds, least and most in brackets; each contestant at its best batch size.",
        "",
        "| sampler | batch | texts a round | kept texts/s | tokens/s | kept |",
        "|---|---|---|---|---|---|",
    ]
    for entry, rounds in timed.items():
        spread = f"{min(r.kept_a_second for r in rounds):.1f} to {max(r.kept_a_second for r in rounds):.1f}"
        tokens = statistics.median(r.tokens / r.seconds for r in rounds)
        share = statistics.median(r.kept / r.texts for r in rounds)
        kept = result["kept_texts_a_second"][entry]
        size, texts = result["best_size"][entry], rounds[0].texts
        lines.append(f"| {entry} | {size} | {texts} | {kept:.1f} ({spread}) | {tokens:.0f} | {100 * share:.0f} % |")
    return "\n".join([*lines, "", f"gendistil keeps {result['times_transformers']:.1f} times the texts of transformers' `generate`.", ""])


if __name__ == "__main__":
    typer.run(main)
