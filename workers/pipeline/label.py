"""Stage 4: the teacher's logits over seed rows and generated texts. Texts and logits together are the transfer set."""

import itertools
import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from transformers import PreTrainedTokenizerBase

from app.contracts.spec import MOST_SHARDS, LabelSpec, SpecError, TeacherSpec
from app.contracts.texts import REJECTED, SYNTHETIC_FILE
from workers.training.devices import pick_device
from workers.training.encoder import encode, load_teacher, load_tokenizer, predict_logits, vocabulary_words
from workers.training.filters import Verdict
from workers.training.recombination import recombine
from workers.training.recorder import Recorder
from workers.training.split import Lineage, Split
from workers.training.transfer import LOGITS_FILE, RECOMBINED_PARTS, TRANSFER_FILE, Part

_ANSWERS = "answers"
_LISTED = 10


@dataclass(frozen=True)
class LabelInputs:
    """`shrink` divides the batch size, where memory is short."""

    split: Split
    teacher: Path
    texts: Path
    teacher_spec: TeacherSpec
    spec: LabelSpec
    shrink: int = 1


@dataclass(frozen=True)
class LabelMetrics:
    """`generated_texts` are those learned from; `rejected_texts` of those that the filters kept are not.

    `agreement`: share of generated texts that the teacher labels as they were asked for; None without conditioning.
    """

    seed_texts: int
    generated_texts: int
    rejected_texts: int
    recombined_texts: int
    agreement: float | None


@dataclass(frozen=True)
class ShardMetrics:
    texts: int


@dataclass(frozen=True)
class _Row:
    """`within`: so many generated texts hold this one, or all that it is made of."""

    part: Part
    text: str
    label: str | None = None
    within: int = 0


@dataclass(frozen=True)
class _Reading:
    """What is to be read: by the measured teacher all `rows` but the holdout's, by the published one those at the places `again`."""

    rows: list[_Row]
    ids: list[list[int]]
    measured: int
    again: list[int]

    @property
    def total(self) -> int:
        return self.measured + len(self.again)


def shard_sizes(inputs: LabelInputs) -> list[int]:
    """Texts that each shard reads. They follow from the spec and the texts, so the result does not depend on who reads what."""
    reading = _reading(inputs)
    tokens = sum(map(len, reading.ids[: reading.measured])) + sum(len(reading.ids[place]) for place in reading.again)
    of = min(MOST_SHARDS, max(1, math.ceil(tokens / inputs.spec.shard_tokens)))
    return [end - start for start, end in itertools.pairwise(round(reading.total * part / of) for part in range(of + 1))]


def label_shard(inputs: LabelInputs, number: int, out: Path, recorder: Recorder) -> ShardMetrics:
    """Reads the shard `number`, counted from 1; writes its logits, one row a text, to `out`."""
    sizes = shard_sizes(inputs)
    start = sum(sizes[: number - 1])
    answers = _read(inputs, _reading(inputs), range(start, start + sizes[number - 1]), recorder)
    save_file({_ANSWERS: answers}, out / LOGITS_FILE)
    return ShardMetrics(len(answers))


def label(inputs: LabelInputs, shards: Sequence[Path], out: Path, recorder: Recorder) -> LabelMetrics:
    """Writes the transfer set, and `synthetic.jsonl` (every sample with its verdict and, if kept, the teacher's probabilities).

    `shards`: folders of `label_shard`, all of them in their order; without any, everything is read here. The published teacher, if the
    split has that lineage, reads the seed rows, the generated texts and the holdout, which it alone reads. Raises `SpecError` if
    `spec.rejected` names a text that there is not.
    """
    split, reading = inputs.split, _reading(inputs)
    if shards:
        answers = torch.cat([load_file(folder / LOGITS_FILE)[_ANSWERS] for folder in shards])
        recorder.progress(reading.total, reading.total)
    else:
        answers = _read(inputs, reading, range(reading.total), recorder)
    logits = {Lineage.MEASURED: answers[: reading.measured]}
    if split.refit:
        # The published teacher differs little from the measured one: reading most texts again would cost more than it tells.
        published = torch.cat([logits[Lineage.MEASURED], torch.empty(len(reading.rows) - reading.measured, len(split.labels))])
        published[reading.again] = answers[reading.measured :]
        logits[Lineage.PUBLISHED] = published
    with (out / TRANSFER_FILE).open("w", encoding="utf-8") as file:
        for row in reading.rows:
            file.write(json.dumps(asdict(row), ensure_ascii=False) + "\n")
    save_file({str(lineage): tensor.contiguous() for lineage, tensor in logits.items()}, out / LOGITS_FILE)
    rows = reading.rows[: reading.measured]
    generated = logits[Lineage.MEASURED][[place for place, row in enumerate(rows) if row.part == Part.GENERATED]].softmax(-1)
    samples = _samples(inputs)
    _write_synthetic(samples, generated, split.labels, out / SYNTHETIC_FILE)
    kept = [sample for sample in samples if sample["verdict"] == Verdict.KEPT]
    asked = [sample["label"] for sample in kept]
    agreement = None
    if asked and asked[0] is not None:
        found = [split.labels[index] for index in generated.argmax(-1).tolist()]
        agreement = sum(answer == wanted for answer, wanted in zip(found, asked, strict=True)) / len(asked)
    seeds = sum(row.part == Part.SEED for row in rows)
    rejected = sum(sample["verdict"] == REJECTED for sample in samples)
    return LabelMetrics(seeds, len(kept), rejected, len(rows) - seeds - len(kept), agreement)


def _samples(inputs: LabelInputs) -> list[dict[str, Any]]:
    """Every sample of the generator, with its verdict; of the kept ones those in `spec.rejected` are not kept."""
    samples = [json.loads(line) for line in inputs.texts.read_text(encoding="utf-8").split("\n") if line]
    for number in inputs.spec.rejected:
        if number > len(samples):
            raise SpecError(f"label.rejected names the text {number}, of {len(samples)}; ids are those of one job's rows and spec.")
        sample = samples[number - 1]
        if sample["verdict"] == Verdict.KEPT:
            sample["verdict"] = REJECTED
    return samples


def _reading(inputs: LabelInputs) -> _Reading:
    split, tokenizer = inputs.split, load_tokenizer(inputs.teacher / Lineage.MEASURED)
    rows = _rows(inputs, [sample["text"] for sample in _samples(inputs) if sample["verdict"] == Verdict.KEPT], tokenizer)
    held = [_Row(Part.HOLDOUT, row.text, row.label) for row in split.holdout] if split.refit else []
    again = [place for place, row in enumerate(rows + held) if row.part not in RECOMBINED_PARTS] if split.refit else []
    ids = encode(tokenizer, [row.text for row in rows + held], inputs.teacher_spec.max_tokens)
    return _Reading(rows + held, ids, len(rows), again)


def _read(inputs: LabelInputs, reading: _Reading, places: range, recorder: Recorder) -> torch.Tensor:
    """(N, C) logits of those `places` among the measured teacher's texts, followed by the published one's."""
    device, precision = pick_device(), inputs.teacher_spec.precision
    size = max(1, inputs.spec.batch_size // inputs.shrink)
    first = [place for place in places if place < reading.measured]
    second = [reading.again[place - reading.measured] for place in places if place >= reading.measured]
    answers = []
    for lineage, texts, before in ((Lineage.MEASURED, first, 0), (Lineage.PUBLISHED, second, len(first))):
        if texts:
            teacher, tokenizer = load_teacher(inputs.teacher / lineage)
            ids, pad_id = [reading.ids[place] for place in texts], int(tokenizer.pad_token_id or 0)

            def on_batch(done: int, before: int = before) -> None:
                recorder.progress(before + done, len(places))

            answers.append(predict_logits(teacher.to(device), ids, pad_id, size, device, precision, on_batch))
    return torch.cat(answers)


def _rows(inputs: LabelInputs, generated: list[str], tokenizer: PreTrainedTokenizerBase) -> list[_Row]:
    seeds, spec = inputs.split.seed_rows(Lineage.MEASURED), inputs.spec
    seed_texts = [row.text for row in seeds]
    texts = seed_texts + generated
    # About as long as what they are made of: so many fit into the budget.
    tokens = sum(map(len, encode(tokenizer, texts, inputs.teacher_spec.max_tokens)))
    share = min(spec.recombined, spec.recombined_tokens / max(1, tokens))
    words = vocabulary_words(tokenizer, seed_texts)
    own = recombine(seed_texts, round(share * len(seeds)), spec.seed, words, spec.exchanged_words)
    parts: dict[Part, list[_Row]] = {Part.GENERATED: [], Part.RECOMBINED: []}
    before = 0
    for step, within in enumerate([*sorted(texts for texts in set(spec.curve) if texts < len(generated)), len(generated)]):
        sources = seed_texts + generated[:within]
        made = recombine(sources, round(share * (within - before)), spec.seed + 1 + step, words, spec.exchanged_words)
        parts[Part.GENERATED] += [_Row(Part.GENERATED, text, within=within) for text in generated[before:within]]
        parts[Part.RECOMBINED] += [_Row(Part.RECOMBINED, text, within=within) for text in made]
        before = within
    return [
        *(_Row(Part.SEED, row.text, row.label) for row in seeds),
        *(_Row(Part.RECOMBINED_SEED, text) for text in own),
        *parts[Part.GENERATED],
        *parts[Part.RECOMBINED],
    ]


def _write_synthetic(samples: list[dict[str, Any]], probabilities: torch.Tensor, labels: list[str], path: Path) -> None:
    best, indices = probabilities.topk(min(_LISTED, len(labels)), dim=-1)
    listed = iter(zip(best.tolist(), indices.tolist(), strict=True))
    with path.open("w", encoding="utf-8") as file:
        for sample in samples:
            shown = None
            if sample["verdict"] == Verdict.KEPT:
                shown = {labels[index]: round(value, 4) for value, index in zip(*next(listed), strict=True)}
            file.write(json.dumps({**sample, "probabilities": shown}, ensure_ascii=False) + "\n")
