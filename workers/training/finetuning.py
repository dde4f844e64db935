"""Finetuning of the teacher on labelled rows."""

import math
import random
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from app.contracts.spec import TeacherSpec
from workers.training.batching import micro_batches, pad
from workers.training.checkpointing import Offer, no_checkpoints
from workers.training.contrastive import supervised_contrastive_loss
from workers.training.curves import MeanLoss
from workers.training.devices import autocast
from workers.training.encoder import Teacher, attention_mask, pooled_features
from workers.training.probe import linear_probe
from workers.training.recorder import State
from workers.training.resumable import EpochOrder, Training
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
    teacher: Teacher,
    rows: LabelledIds,
    pad_id: int,
    spec: TeacherSpec,
    device: torch.device,
    check: Callable[[], None],
    shrink: int = 1,
) -> None:
    """Sets the head to a linear probe of the encoder as it is; `check` is called after each batch that it reads."""
    features = pooled_features(teacher, rows.ids, pad_id, max(1, 64 // shrink), device, spec.precision, lambda _done: check())
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
    on_point: Callable[[float, float], None],
    shrink: int = 1,
    resume: State | None = None,
    offer: Offer = no_checkpoints,
) -> float:
    """Trains `teacher` in place with cross-entropy and, if `contrastive_weight` is set, a supervised contrastive loss over two views.

    `on_step(epochs done so far)` after each step; `on_point(epochs done so far, mean loss)` at each point of the loss curve. Its state is
    offered after a point is told and before the step is, and after each epoch. `resume`: such a state, to go on from; it is emptied. With
    `shrink`, gradients are accumulated over so many micro-batches a step, and the contrastive loss compares within a micro-batch. Returns
    the last epoch's mean loss; raises `FloatingPointError` if one is not finite.
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
    order = EpochOrder([len(row) for row in rows.ids], spec.batch_size, random.Random(spec.seed))
    training = Training(teacher, optimizer, schedule, order)
    curve = MeanLoss(steps)
    epoch, done, total, mean = 1, 0, 0.0, math.nan
    if resume is not None:
        epoch, done, total, mean = (resume[name] for name in ("epoch", "done", "total", "mean"))
        curve.restore(resume["curve"])
        training.restore(resume["training"])
        on_step(done / steps * epochs)

    def state() -> State:
        return {"epoch": epoch, "done": done, "total": total, "mean": mean, "curve": curve.state(), "training": training.state()}

    while epoch <= epochs:
        teacher.train()
        for batch in order.rest():
            optimizer.zero_grad()
            loss = _accumulate(teacher, rows, batch, pad_id, spec, weights, shrink)
            torch.nn.utils.clip_grad_norm_(trained, 1.0)
            optimizer.step()
            schedule.step()
            total += loss * len(batch)
            done += 1
            if (point := curve.add(done, loss, len(batch))) is not None:
                on_point(done / steps * epochs, point)
            offer(state)
            on_step(done / steps * epochs)
        order.end()
        mean = total / len(rows.ids)
        if not math.isfinite(mean):
            raise FloatingPointError(f"The teacher's loss became {mean} in epoch {epoch}; lower spec.teacher.learning_rate.")
        epoch, total = epoch + 1, 0.0
        offer(state)
    teacher.eval()
    return mean


def _accumulate(
    teacher: Teacher, rows: LabelledIds, batch: list[int], pad_id: int, spec: TeacherSpec, weights: Tensor, shrink: int
) -> float:
    """Adds the gradients of the batch's mean loss, which it returns. `weights` (C,) are on the teacher's device."""
    device, views, mean = weights.device, 2 if spec.contrastive_weight else 1, 0.0
    whole = weights[rows.targets[batch].to(device)].sum()
    for part in micro_batches(batch, spec.batch_size, shrink):
        texts = [rows.ids[index] for index in part]
        ids = pad(texts, pad_id)
        mask = attention_mask(texts, ids)
        targets = rows.targets[part].to(device)
        with autocast(spec.precision, device):
            embeddings = teacher.pooled(ids.repeat(views, 1).to(device), mask.repeat(views, 1).to(device))
            logits = teacher.head(teacher.dropout(embeddings))
        repeated = targets.repeat(views)
        loss = F.cross_entropy(logits.float(), repeated, weight=weights)
        # Means over rows that weigh differently: a part counts by its rows' weights. The share of a whole batch is exactly 1.
        loss = loss * (weights[targets].sum() / whole)
        if spec.contrastive_weight:
            contrastive = supervised_contrastive_loss(embeddings, repeated, spec.contrastive_temperature)
            loss = loss + spec.contrastive_weight * contrastive * (len(part) / len(batch))
        loss.backward()
        mean += loss.item()
    return mean
