"""Training of one student on one set of texts."""

import copy
import random
from collections.abc import Callable
from dataclasses import dataclass

import torch
from tokenizers import Tokenizer
from torch import Tensor

from app.contracts.spec import DistilSpec
from workers.students.base import Student, StudentArchitecture, widest
from workers.students.embedding import FoldedEmbedding, PlainEmbedding
from workers.students.vocabulary import Vocabulary
from workers.training.batching import length_sorted_batches, pad, shuffled_batches
from workers.training.devices import seed_everything
from workers.training.losses import DistilLoss, distil_loss
from workers.training.schedule import warmup_cosine
from workers.training.selection import OneStandardError
from workers.training.transfer import TransferPart


@dataclass(frozen=True)
class Fit:
    """A trained student, folded to the form that is shipped. Losses are those of the validation part at the kept epoch."""

    student: Student
    dimensions: int
    kept_epoch: int
    validation_loss: float
    validation_accuracy: float


@dataclass(frozen=True)
class EpochLosses:
    epoch: int
    kd_loss: float
    class_loss: float
    validation_loss: float
    validation_accuracy: float


def student_ids(tokenizer: Tokenizer, texts: list[str], max_tokens: int, pad_id: int) -> list[list[int]]:
    """Ids as the serving side makes them: no special tokens, cut to `max_tokens`; a text without pieces is one padding."""
    encodings = tokenizer.encode_batch(texts, add_special_tokens=False)
    return [encoding.ids[:max_tokens] or [pad_id] for encoding in encodings]


def train_student(
    architecture: StudentArchitecture,
    vocabulary: Vocabulary,
    base: Tensor,
    train: tuple[list[list[int]], TransferPart],
    validation: tuple[list[list[int]], TransferPart],
    spec: DistilSpec,
    device: torch.device,
    on_epoch: Callable[[EpochLosses], None],
    check: Callable[[], None],
) -> Fit:
    """Trains on `train` and chooses the epoch on `validation` (`OneStandardError`); both are token ids beside their targets.

    An epoch is a pass over the texts, or as many passes as it takes for `min_steps` steps in all. Raises `FloatingPointError` if the loss
    is not finite.
    """
    seed_everything(spec.seed)
    ids, part = train
    classes = part.logits.shape[1]
    dimensions = widest(architecture, len(vocabulary.pieces), classes, spec.max_parameters, base.shape[1])
    embedding = FoldedEmbedding(base, dimensions, architecture.weighted)
    student = Student(embedding, architecture.head(dimensions, classes, spec.dropout), vocabulary).to(device)
    passes = max(1, -(-spec.min_steps // (spec.epochs * -(-len(ids) // spec.batch_size))))
    steps = spec.epochs * passes * -(-len(ids) // spec.batch_size)
    optimizer = torch.optim.AdamW(student.parameters(), lr=spec.learning_rate, weight_decay=0.01, fused=True)
    schedule = warmup_cosine(optimizer, steps, 0.05)
    rng = random.Random(spec.seed)
    selection = OneStandardError(len(validation[0]))
    kept: tuple[float, float, dict[str, Tensor]] | None = None
    for epoch in range(1, spec.epochs + 1):
        student.train()
        totals, seen = torch.zeros(2), 0
        for _ in range(passes):
            for batch in shuffled_batches([len(row) for row in ids], spec.batch_size, rng):
                check()
                loss = _loss(student, ids, part, batch, spec, device, rng)
                optimizer.zero_grad()
                loss.loss.backward()
                torch.nn.utils.clip_grad_norm_(student.parameters(), 1.0)
                optimizer.step()
                schedule.step()
                totals += torch.stack([loss.kd_loss.detach(), loss.class_loss.detach()]).cpu() * len(batch)
                seen += len(batch)
        kd_loss, class_loss = (totals / seen).tolist()
        validation_loss, accuracy = _validate(student, *validation, spec, device)
        if not torch.isfinite(totals).all():
            raise FloatingPointError(f"The student's loss became {kd_loss} in epoch {epoch}; lower spec.distil.learning_rate.")
        on_epoch(EpochLosses(epoch, kd_loss, class_loss, validation_loss, accuracy))
        if selection.keeps(epoch, accuracy):
            kept = (validation_loss, accuracy, copy.deepcopy(student.state_dict()))
    assert kept is not None  # the first epoch is the best of its time
    student.load_state_dict(kept[2])
    shipped = Student(PlainEmbedding(embedding.fold().cpu()), student.head.cpu(), vocabulary).eval()
    return Fit(shipped, dimensions + architecture.weighted, selection.kept_epoch, *kept[:2])


def student_logits(student: Student, ids: list[list[int]], pad_id: int, batch_size: int = 256) -> Tensor:
    """(N, C) in the order of `ids`."""
    device = next(student.parameters()).device
    out: Tensor | None = None
    student.eval()
    for batch in length_sorted_batches([len(row) for row in ids], batch_size):
        with torch.inference_mode():
            logits = student(pad([ids[index] for index in batch], pad_id).to(device)).cpu()
        out = logits.new_empty((len(ids), logits.shape[1])) if out is None else out
        out[batch] = logits
    assert out is not None, "no texts"
    return out


def _loss(
    student: Student, ids: list[list[int]], part: TransferPart, batch: list[int], spec: DistilSpec, device: torch.device, rng: random.Random
) -> DistilLoss:
    rows = [_drop_words(ids[index], spec.word_dropout, rng) for index in batch]
    logits = student(pad(rows, student.pad_id).to(device))
    return distil_loss(logits, part.logits[batch].to(device), part.hard[batch].to(device), spec.temperature, spec.alpha)


def _drop_words(row: list[int], share: float, rng: random.Random) -> list[int]:
    """Word dropout (Iyyer et al. 2015): no text is ever learned by heart as a whole."""
    return [piece for piece in row if rng.random() >= share] or row


def _validate(student: Student, ids: list[list[int]], part: TransferPart, spec: DistilSpec, device: torch.device) -> tuple[float, float]:
    logits = student_logits(student, ids, student.pad_id)
    loss = distil_loss(logits, part.logits, part.hard, spec.temperature, spec.alpha).loss.item()
    return loss, (logits.argmax(-1) == part.hard).float().mean().item()
