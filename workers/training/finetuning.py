"""Finetuning of the teacher on labelled rows."""

import math
import random
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from app.contracts.spec import TeacherSpec
from workers.training.batching import pad, shuffled_batches
from workers.training.contrastive import supervised_contrastive_loss
from workers.training.devices import autocast
from workers.training.encoder import Teacher, attention_mask, pooled_features
from workers.training.probe import linear_probe
from workers.training.schedule import warmup_cosine


@dataclass(frozen=True)
class LabelledIds:
    """Token ids with the special tokens, and their label indices (N,)."""

    ids: list[list[int]]
    targets: Tensor


def class_weights(targets: Tensor, classes: int) -> Tensor:
    """(C,) inverse frequency, mean 1 over the rows; all ones when the rows are balanced."""
    counts = torch.bincount(targets, minlength=classes).clamp(min=1).float()
    return len(targets) / (classes * counts)


def start_from_probe(
    teacher: Teacher, rows: LabelledIds, pad_id: int, spec: TeacherSpec, device: torch.device, check: Callable[[], None]
) -> None:
    """Sets the head to a linear probe of the encoder as it is; `check` is called after each batch that it reads."""
    features = pooled_features(teacher, rows.ids, pad_id, 64, device, spec.precision, lambda _done: check())
    weight, bias = linear_probe(features, rows.targets, teacher.head.out_features)
    with torch.no_grad():
        teacher.head.weight.copy_(weight)
        teacher.head.bias.copy_(bias)


def finetune(
    teacher: Teacher,
    rows: LabelledIds,
    pad_id: int,
    spec: TeacherSpec,
    epochs: int,
    device: torch.device,
    on_step: Callable[[float], None],
    on_epoch: Callable[[int, float], None],
) -> float:
    """Trains `teacher` in place with cross-entropy and, if `contrastive_weight` is set, a supervised contrastive loss over two views.

    `on_step(epochs done so far)` after each step, `on_epoch(epoch, mean loss)` after each epoch. Returns the last epoch's mean loss; raises
    `FloatingPointError` if one is not finite.
    """
    weights = class_weights(rows.targets, teacher.head.out_features).to(device)
    # A piece that occurs in a few rows would move away from its neighbours that occur in none.
    teacher.freeze_word_embeddings(spec.freeze_embeddings)
    groups = [
        {"params": [parameter for parameter in teacher.encoder.parameters() if parameter.requires_grad], "lr": spec.learning_rate},
        {"params": list(teacher.head.parameters()), "lr": spec.head_learning_rate},
    ]
    trained = [parameter for parameter in teacher.parameters() if parameter.requires_grad]
    steps = epochs * -(-len(rows.ids) // spec.batch_size)
    optimizer = torch.optim.AdamW(groups, weight_decay=spec.weight_decay, fused=True)
    schedule = warmup_cosine(optimizer, steps, spec.warmup_ratio)
    rng = random.Random(spec.seed)
    views = 2 if spec.contrastive_weight else 1
    done, mean = 0, math.nan
    for epoch in range(1, epochs + 1):
        teacher.train()
        total = 0.0
        for batch in shuffled_batches([len(row) for row in rows.ids], spec.batch_size, rng):
            texts = [rows.ids[index] for index in batch]
            ids = pad(texts, pad_id)
            mask = attention_mask(texts, ids)
            targets = rows.targets[batch].repeat(views).to(device)
            with autocast(spec.precision, device):
                embeddings = teacher.pooled(ids.repeat(views, 1).to(device), mask.repeat(views, 1).to(device))
                logits = teacher.head(teacher.dropout(embeddings))
            loss = F.cross_entropy(logits.float(), targets, weight=weights)
            if spec.contrastive_weight:
                loss = loss + spec.contrastive_weight * supervised_contrastive_loss(embeddings, targets, spec.contrastive_temperature)
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(trained, 1.0)
            optimizer.step()
            schedule.step()
            total += loss.item() * len(batch)
            done += 1
            on_step(done / steps * epochs)
        mean = total / len(rows.ids)
        if not math.isfinite(mean):
            raise FloatingPointError(f"The teacher's loss became {mean} in epoch {epoch}; lower spec.teacher.learning_rate.")
        on_epoch(epoch, mean)
    teacher.eval()
    return mean
