"""Stage 1: finetune a pretrained encoder on the seed rows. The result labels the generated texts, and is the bar for the student."""

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from app.contracts.rows import Row
from app.contracts.spec import TeacherSpec
from workers.training.checkpointing import Checkpoints, MakeState
from workers.training.curves import tell_point
from workers.training.devices import pick_device, seed_everything
from workers.training.encoder import Teacher, encode, load_tokenizer, new_teacher
from workers.training.finetuning import LabelledIds, finetune, start_from_probe
from workers.training.recorder import Recorder
from workers.training.resumable import put_weights, trained_weights
from workers.training.split import Lineage, Split

_STATE_FORMAT = "finetune_teacher/2"


@dataclass(frozen=True)
class TeacherInputs:
    split: Split
    model: Path
    spec: TeacherSpec
    shrink: int = 1
    """Batches are read in so many parts."""


@dataclass(frozen=True)
class TeacherMetrics:
    """`rows`: learned from, and `loss`: mean of the last epoch, by lineage."""

    epochs: int
    rows: dict[str, int]
    loss: dict[str, float]
    parameters: int


def finetune_teacher(inputs: TeacherInputs, out: Path, recorder: Recorder) -> TeacherMetrics:
    """Writes to `out` a folder for each lineage of the split, with the finetuned encoder, its head and its tokenizer.

    The published teacher goes on from the measured one, with the holdout's rows among its own. Raises `FloatingPointError` if a loss is not
    finite.
    """
    spec, split = inputs.spec, inputs.split
    seed_everything(spec.seed)
    device = pick_device()
    tokenizer = load_tokenizer(inputs.model)
    pad_id = int(tokenizer.pad_token_id or 0)
    teacher = new_teacher(inputs.model, len(split.labels)).to(device)
    total = spec.epochs + (spec.refit_epochs if split.refit else 0)
    checkpoints = Checkpoints(recorder, _STATE_FORMAT)
    state = checkpoints.take() or {"finished": {}, "training": None}
    finished, resume = state["finished"], state["training"]
    rows: dict[str, int] = {}
    losses: dict[str, float] = {}
    before = 0
    for lineage in split.lineages:
        seeds = _labelled(tokenizer, split.seed_rows(lineage), split, spec)
        epochs = spec.refit_epochs if before else spec.epochs

        def on_step(done: float, before: int = before) -> None:
            recorder.progress(round(before + done, 2), total)

        def on_point(done: float, loss: float, lineage: Lineage = lineage, before: int = before) -> None:
            tell_point(recorder, f"{lineage}_loss", round(before + done, 2), total, loss, lineage=lineage.value)

        def offer(make: MakeState) -> None:
            checkpoints.offer(lambda: {"finished": finished, "training": make()})

        if lineage in finished:
            put_weights(teacher, finished[lineage]["weights"])
        else:
            if not before and resume is None and spec.head_init == "probe":
                start_from_probe(teacher, seeds, pad_id, spec, device, recorder.check, inputs.shrink)
            loss = finetune(teacher, seeds, pad_id, spec, epochs, device, on_step, on_point, inputs.shrink, resume, offer)
            resume = None
            finished[lineage.value] = {"loss": loss, "weights": _on_cpu(teacher) if lineage != split.lineages[-1] else {}}
        losses[lineage] = finished[lineage]["loss"]
        rows[lineage] = len(seeds.ids)
        before += epochs
        teacher.save(out / lineage, tokenizer)
    return TeacherMetrics(total, rows, losses, sum(parameter.numel() for parameter in teacher.parameters()))


def _on_cpu(teacher: Teacher) -> dict[str, Tensor]:
    """A copy, for the checkpoints of the lineage that goes on from here."""
    return {name: tensor.to("cpu", copy=True) for name, tensor in trained_weights(teacher).items()}


def _labelled(tokenizer: PreTrainedTokenizerBase, rows: list[Row], split: Split, spec: TeacherSpec) -> LabelledIds:
    return LabelledIds(encode(tokenizer, [row.text for row in rows], spec.max_tokens), torch.tensor(split.targets(rows)))
