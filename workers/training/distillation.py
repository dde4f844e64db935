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
from workers.training.batching import length_sorted_batches, micro_batches, pad
from workers.training.checkpointing import Offer, no_checkpoints
from workers.training.devices import seed_everything
from workers.training.losses import distil_loss
from workers.training.recorder import State
from workers.training.resumable import EpochOrder, Training
from workers.training.schedule import warmup_cosine


@dataclass(frozen=True)
class Targets:
    """Texts as the student's ids, the teacher's `logits` (N, C) and the label or answer `hard` (N,)."""

    ids: list[list[int]]
    logits: Tensor
    hard: Tensor

    def repeat(self, times: int) -> "Targets":
        return Targets(self.ids * times, self.logits.repeat(times, 1), self.hard.repeat(times))

    def take(self, places: list[int]) -> "Targets":
        return Targets([self.ids[place] for place in places], self.logits[places], self.hard[places])

    def __add__(self, other: "Targets") -> "Targets":
        return Targets(self.ids + other.ids, torch.cat([self.logits, other.logits]), torch.cat([self.hard, other.hard]))


@dataclass(frozen=True)
class EpochLosses:
    epoch: int
    kd_loss: float
    class_loss: float


def student_ids(tokenizer: Tokenizer, texts: list[str], max_tokens: int, pad_id: int) -> list[list[int]]:
    """Ids as the serving side makes them: no special tokens, cut to `max_tokens`; a text without pieces is one padding."""
    encodings = tokenizer.encode_batch(texts, add_special_tokens=False)
    return [encoding.ids[:max_tokens] or [pad_id] for encoding in encodings]


def new_student(
    architecture: StudentArchitecture, vocabulary: Vocabulary, base: Tensor, classes: int, spec: DistilSpec, device: torch.device
) -> Student:
    """As wide as `max_parameters` allows, its table folded. Raises `ValueError` if none fits."""
    seed_everything(spec.seed)
    dimensions = widest(architecture, len(vocabulary.pieces), classes, spec.max_parameters, base.shape[1])
    embedding = FoldedEmbedding(base, dimensions, architecture.weighted)
    return Student(embedding, architecture.head(dimensions, classes, spec.dropout), vocabulary).to(device)


def epochs_within(spec: DistilSpec, epochs: int, texts: int) -> int:
    """`epochs`, or as many as fit into the share of `max_steps` that falls to them."""
    share = spec.max_steps * epochs / spec.epochs
    return max(1, min(epochs, int(share / -(-texts // spec.batch_size))))


def train_student(
    student: Student,
    train: Targets,
    spec: DistilSpec,
    epochs: int,
    on_epoch: Callable[[EpochLosses], None],
    check: Callable[[], None],
    shrink: int = 1,
    resume: State | None = None,
    offer: Offer = no_checkpoints,
) -> EpochLosses:
    """Trains in place for `epochs` and returns the last one's losses; its state is offered after each step, and `check` called.

    An epoch is a pass over the texts, or as many passes as it takes for `min_steps` steps in `spec.epochs` epochs. There is no choice among
    the epochs: the learning rate ends at zero, no text is ever seen twice as it was (word dropout), and a validation part of some dozen
    rows cannot tell one late epoch from another. With `shrink`, gradients are accumulated over so many micro-batches a step. `resume`: an
    offered state, to go on from; it is emptied. Raises `FloatingPointError` if the loss is not finite.
    """
    batches = -(-len(train.ids) // spec.batch_size)
    passes = max(1, -(-spec.min_steps // (spec.epochs * batches)))
    optimizer = torch.optim.AdamW(student.parameters(), lr=spec.learning_rate, weight_decay=0.01, fused=True)
    schedule = warmup_cosine(optimizer, epochs * passes * batches, 0.05)
    order = EpochOrder([len(row) for row in train.ids], spec.batch_size, random.Random(spec.seed))
    training = Training(student, optimizer, schedule, order)
    losses = EpochLosses(0, 0.0, 0.0)
    passed, totals, seen = 0, torch.zeros(2), 0
    if resume is not None:
        losses = EpochLosses(*resume["losses"])
        passed, totals, seen = resume["passed"], resume["totals"], resume["seen"]
        training.restore(resume["training"])

    def state() -> State:
        told = [losses.epoch, losses.kd_loss, losses.class_loss]
        return {"losses": told, "passed": passed, "totals": totals, "seen": seen, "training": training.state()}

    while losses.epoch < epochs:
        student.train()
        while passed < passes:
            for batch in order.rest():
                optimizer.zero_grad()
                totals += _accumulate(student, train, batch, spec, order.rng, shrink) * len(batch)
                torch.nn.utils.clip_grad_norm_(student.parameters(), 1.0)
                optimizer.step()
                schedule.step()
                seen += len(batch)
                offer(state)
                check()
            order.end()
            passed += 1
        epoch = losses.epoch + 1
        kd_loss, class_loss = (totals / seen).tolist()
        if not torch.isfinite(totals).all():
            raise FloatingPointError(f"The student's loss became {kd_loss} in epoch {epoch}; lower spec.distil.learning_rate.")
        losses = EpochLosses(epoch, kd_loss, class_loss)
        passed, totals, seen = 0, torch.zeros(2), 0
        on_epoch(losses)
        offer(state)
    return losses


def shipped(student: Student, vocabulary: Vocabulary) -> Student:
    """A copy with its table multiplied out, in evaluation mode on the CPU; the folded one can go on learning."""
    assert isinstance(student.embedding, FoldedEmbedding)
    return Student(PlainEmbedding(student.embedding.fold().cpu()), copy.deepcopy(student.head).cpu(), vocabulary).eval()


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


def _accumulate(student: Student, train: Targets, batch: list[int], spec: DistilSpec, rng: random.Random, shrink: int) -> Tensor:
    """Adds the gradients of the batch's mean loss; returns (2,): its `kd_loss` and `class_loss`, on the CPU."""
    device = next(student.parameters()).device
    losses = torch.zeros(2)
    for part in micro_batches(batch, spec.batch_size, shrink):
        rows = [_drop_words(train.ids[index], spec.word_dropout, rng) for index in part]
        logits = student(pad(rows, student.pad_id).to(device))
        loss = distil_loss(logits, train.logits[part].to(device), train.hard[part].to(device), spec.temperature, spec.alpha)
        share = len(part) / len(batch)
        (loss.loss * share).backward()
        losses += torch.stack([loss.kd_loss.detach(), loss.class_loss.detach()]).cpu() * share
    return losses


def _drop_words(row: list[int], share: float, rng: random.Random) -> list[int]:
    """Word dropout (Iyyer et al. 2015): no text is ever learned by heart as a whole."""
    return [piece for piece in row if rng.random() >= share] or row
