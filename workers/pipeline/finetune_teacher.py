"""Stage 1: finetune a pretrained encoder on the seed rows. The result labels the generated texts, and is the bar for the student."""

import copy
import math
import random
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F
from transformers import PreTrainedTokenizerBase

from app.contracts.spec import TeacherSpec
from workers.training.batching import pad, shuffled_batches
from workers.training.devices import autocast, pick_device, seed_everything
from workers.training.encoder import Teacher, attention_mask, encode, load_tokenizer, new_teacher, predict_logits
from workers.training.recorder import Recorder
from workers.training.schedule import warmup_cosine
from workers.training.selection import OneStandardError
from workers.training.split import Split


@dataclass(frozen=True)
class TeacherInputs:
    split: Split
    model: Path
    spec: TeacherSpec


@dataclass(frozen=True)
class TeacherMetrics:
    epochs: int
    kept_epoch: int
    validation_loss: float
    validation_accuracy: float
    parameters: int


def finetune_teacher(inputs: TeacherInputs, out: Path, recorder: Recorder) -> TeacherMetrics:
    """Writes the finetuned encoder, its head and its tokenizer to `out`; the epoch is chosen on the validation part (`OneStandardError`).

    Raises `FloatingPointError` if the loss is not finite.
    """
    spec, split = inputs.spec, inputs.split
    seed_everything(spec.seed)
    device = pick_device()
    tokenizer = load_tokenizer(inputs.model)
    teacher = new_teacher(inputs.model, len(split.labels)).to(device)
    train = _Part(encode(tokenizer, [row.text for row in split.train], spec.max_tokens), torch.tensor(split.targets(split.train)))
    validation = _Part(
        encode(tokenizer, [row.text for row in split.validation], spec.max_tokens), torch.tensor(split.targets(split.validation))
    )
    weights = class_weights(train.targets, len(split.labels)).to(device)
    metrics = _fit(teacher, tokenizer, train, validation, weights, spec, device, recorder)
    teacher.save(out, tokenizer)
    return metrics


def class_weights(targets: Tensor, classes: int) -> Tensor:
    """(C,) inverse frequency, mean 1 over the rows; all ones when the rows are balanced."""
    counts = torch.bincount(targets, minlength=classes).clamp(min=1).float()
    return len(targets) / (classes * counts)


@dataclass(frozen=True)
class _Part:
    ids: list[list[int]]
    targets: Tensor


def _fit(
    teacher: Teacher,
    tokenizer: PreTrainedTokenizerBase,
    train: _Part,
    validation: _Part,
    weights: Tensor,
    spec: TeacherSpec,
    device: torch.device,
    recorder: Recorder,
) -> TeacherMetrics:
    pad_id = int(tokenizer.pad_token_id or 0)
    steps = spec.epochs * -(-len(train.ids) // spec.batch_size)
    groups = [
        {"params": teacher.encoder.parameters(), "lr": spec.learning_rate},
        {"params": teacher.head.parameters(), "lr": spec.head_learning_rate},
    ]
    optimizer = torch.optim.AdamW(groups, weight_decay=spec.weight_decay, fused=True)
    schedule = warmup_cosine(optimizer, steps, spec.warmup_ratio)
    rng = random.Random(spec.seed)
    selection = OneStandardError(len(validation.ids))
    kept_loss, kept_accuracy, kept_state = 0.0, 0.0, None
    epoch, done = 0, 0
    for epoch in range(1, spec.epochs + 1):
        teacher.train()
        total = 0.0
        for batch in shuffled_batches([len(row) for row in train.ids], spec.batch_size, rng):
            rows = [train.ids[index] for index in batch]
            ids = pad(rows, pad_id).to(device)
            with autocast(spec.precision, device):
                logits = teacher(ids, attention_mask(rows, ids))
            loss = F.cross_entropy(logits.float(), train.targets[batch].to(device), weight=weights)
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(teacher.parameters(), 1.0)
            optimizer.step()
            schedule.step()
            total += loss.item() * len(batch)
            done += 1
            recorder.progress(round(done / steps * spec.epochs, 2), spec.epochs)
        if not math.isfinite(total):
            raise FloatingPointError(f"The teacher's loss became {total} in epoch {epoch}; lower spec.teacher.learning_rate.")
        teacher.eval()
        logits = predict_logits(teacher, validation.ids, pad_id, 64, device)
        validation_loss = F.cross_entropy(logits, validation.targets, weight=weights.cpu()).item()
        accuracy = (logits.argmax(-1) == validation.targets).float().mean().item()
        recorder.event(
            "epoch",
            f"teacher epoch {epoch}: loss {total / len(train.ids):.4f}, validation loss {validation_loss:.4f}, accuracy {accuracy:.3f}",
            epoch=epoch,
            loss=total / len(train.ids),
            validation_loss=validation_loss,
            validation_accuracy=accuracy,
        )
        if selection.keeps(epoch, accuracy):
            kept_loss, kept_accuracy, kept_state = validation_loss, accuracy, copy.deepcopy(teacher.state_dict())
        elif epoch - selection.kept_epoch >= spec.patience:
            break
    assert kept_state is not None  # the first epoch is the best of its time
    teacher.load_state_dict(kept_state)
    parameters = sum(parameter.numel() for parameter in teacher.parameters())
    return TeacherMetrics(epoch, selection.kept_epoch, kept_loss, kept_accuracy, parameters)
