"""Stage 4: the teacher's logits over seed rows and generated texts. Texts and logits together are the transfer set."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from app.contracts.spec import LabelSpec, TeacherSpec
from workers.training.devices import pick_device
from workers.training.encoder import encode, load_teacher, predict_logits
from workers.training.filters import Verdict
from workers.training.recorder import Recorder
from workers.training.split import Split
from workers.training.transfer import LOGITS_FILE, TRANSFER_FILE

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
    agreement: float | None


def label(inputs: LabelInputs, out: Path, recorder: Recorder) -> LabelMetrics:
    """Writes the transfer set, and `synthetic.jsonl` (every sample with its verdict and, if kept, the teacher's probabilities).

    The validation part is labelled too, apart, to choose the student's checkpoint; the holdout is not touched.
    """
    split = inputs.split
    samples = [json.loads(line) for line in inputs.texts.read_text(encoding="utf-8").split("\n") if line]
    kept = [sample for sample in samples if sample["verdict"] == Verdict.KEPT]
    parts: list[tuple[str, str, str | None]] = [("train", row.text, row.label) for row in split.train]
    parts += [("validation", row.text, row.label) for row in split.validation]
    parts += [("generated", sample["text"], None) for sample in kept]
    device = pick_device()
    teacher, tokenizer = load_teacher(inputs.teacher)
    teacher.to(device)
    ids = encode(tokenizer, [text for _, text, _ in parts], inputs.teacher_spec.max_tokens)
    logits = predict_logits(
        teacher, ids, int(tokenizer.pad_token_id or 0), inputs.spec.batch_size, device, lambda done: recorder.progress(done, len(ids))
    )
    with (out / TRANSFER_FILE).open("w", encoding="utf-8") as file:
        for part, text, known in parts:
            file.write(json.dumps({"part": part, "text": text, "label": known}, ensure_ascii=False) + "\n")
    save_file({"logits": logits.contiguous()}, out / LOGITS_FILE)
    generated = logits[len(parts) - len(kept) :].softmax(-1)
    _write_synthetic(samples, generated, split.labels, out / SYNTHETIC_FILE)
    asked = [sample["label"] for sample in kept]
    agreement = None
    if asked and asked[0] is not None:
        answers = [split.labels[index] for index in generated.argmax(-1).tolist()]
        agreement = sum(answer == wanted for answer, wanted in zip(answers, asked, strict=True)) / len(asked)
    return LabelMetrics(len(parts) - len(kept), len(kept), agreement)


def _write_synthetic(samples: list[dict[str, Any]], probabilities: torch.Tensor, labels: list[str], path: Path) -> None:
    best, indices = probabilities.topk(min(_LISTED, len(labels)), dim=-1)
    listed = iter(zip(best.tolist(), indices.tolist(), strict=True))
    with path.open("w", encoding="utf-8") as file:
        for sample in samples:
            shown = None
            if sample["verdict"] == Verdict.KEPT:
                shown = {labels[index]: round(value, 4) for value, index in zip(*next(listed), strict=True)}
            file.write(json.dumps({**sample, "probabilities": shown}, ensure_ascii=False) + "\n")
