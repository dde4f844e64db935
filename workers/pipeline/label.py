"""Stage 4: the teacher's logits over seed rows and generated texts. Texts and logits together are the transfer set."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from transformers import PreTrainedTokenizerBase

from app.contracts.spec import LabelSpec, TeacherSpec
from workers.training.devices import pick_device
from workers.training.encoder import encode, load_teacher, predict_logits, vocabulary_words
from workers.training.filters import Verdict
from workers.training.recombination import recombine
from workers.training.recorder import Recorder
from workers.training.split import Lineage, Split
from workers.training.transfer import LOGITS_FILE, RECOMBINED_PARTS, TRANSFER_FILE, Part

SYNTHETIC_FILE = "synthetic.jsonl"
_LISTED = 10


@dataclass(frozen=True)
class LabelInputs:
    split: Split
    teacher: Path
    texts: Path
    teacher_spec: TeacherSpec
    spec: LabelSpec


@dataclass(frozen=True)
class LabelMetrics:
    """`agreement`: share of generated texts that the teacher labels as they were asked for; None without conditioning."""

    seed_texts: int
    generated_texts: int
    recombined_texts: int
    agreement: float | None


@dataclass(frozen=True)
class _Row:
    """`within`: so many generated texts hold this one, or all that it is made of."""

    part: Part
    text: str
    label: str | None = None
    within: int = 0


def label(inputs: LabelInputs, out: Path, recorder: Recorder) -> LabelMetrics:
    """Writes the transfer set, and `synthetic.jsonl` (every sample with its verdict and, if kept, the teacher's probabilities).

    The published teacher, if the split has that lineage, reads the seed rows, the generated texts and the holdout, which it alone reads.
    """
    split, device = inputs.split, pick_device()
    samples = [json.loads(line) for line in inputs.texts.read_text(encoding="utf-8").split("\n") if line]
    kept = [sample for sample in samples if sample["verdict"] == Verdict.KEPT]
    teacher, tokenizer = load_teacher(inputs.teacher / Lineage.MEASURED)
    rows = _rows(inputs, [sample["text"] for sample in kept], tokenizer)
    held = [_Row(Part.HOLDOUT, row.text, row.label) for row in split.holdout] if split.refit else []
    # The published teacher differs little from the measured one: reading most texts again would cost more than it tells.
    again = [place for place, row in enumerate(rows + held) if row.part not in RECOMBINED_PARTS] if split.refit else []
    total = len(rows) + len(again)

    def answers_to(texts: list[str], before: int) -> torch.Tensor:
        ids = encode(tokenizer, texts, inputs.teacher_spec.max_tokens)
        pad_id, precision = int(tokenizer.pad_token_id or 0), inputs.teacher_spec.precision
        size = inputs.spec.batch_size
        return predict_logits(teacher.to(device), ids, pad_id, size, device, precision, lambda now: recorder.progress(before + now, total))

    logits = {Lineage.MEASURED: answers_to([row.text for row in rows], 0)}
    if split.refit:
        teacher, tokenizer = load_teacher(inputs.teacher / Lineage.PUBLISHED)
        published = torch.cat([logits[Lineage.MEASURED], torch.empty(len(held), len(split.labels))])
        published[again] = answers_to([(rows + held)[place].text for place in again], len(rows))
        logits[Lineage.PUBLISHED] = published
    with (out / TRANSFER_FILE).open("w", encoding="utf-8") as file:
        for row in rows + held:
            file.write(json.dumps(asdict(row), ensure_ascii=False) + "\n")
    save_file({str(lineage): tensor.contiguous() for lineage, tensor in logits.items()}, out / LOGITS_FILE)
    generated = logits[Lineage.MEASURED][[place for place, row in enumerate(rows) if row.part == Part.GENERATED]].softmax(-1)
    _write_synthetic(samples, generated, split.labels, out / SYNTHETIC_FILE)
    asked = [sample["label"] for sample in kept]
    agreement = None
    if asked and asked[0] is not None:
        answers = [split.labels[index] for index in generated.argmax(-1).tolist()]
        agreement = sum(answer == wanted for answer, wanted in zip(answers, asked, strict=True)) / len(asked)
    seeds = sum(row.part == Part.SEED for row in rows)
    return LabelMetrics(seeds, len(kept), len(rows) - seeds - len(kept), agreement)


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
