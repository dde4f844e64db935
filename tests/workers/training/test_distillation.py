"""The training of one student."""

from collections import Counter

import pytest
import torch
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import WhitespaceSplit

from app.contracts.spec import DistilSpec, StudentKind
from workers.students.base import Student
from workers.students.registry import ARCHITECTURES
from workers.students.vocabulary import Vocabulary
from workers.training.distillation import (
    EpochLosses,
    Targets,
    epochs_within,
    new_student,
    shipped,
    student_ids,
    student_logits,
    train_student,
)

PIECES, CLASSES = 60, 3
VOCABULARY = Vocabulary(list(range(PIECES)), None, 0)
BASE = torch.randn(PIECES, 24, generator=torch.Generator().manual_seed(0))
CPU = torch.device("cpu")


def sample(count: int, seed: int) -> Targets:
    """Texts of eight pieces; those from 10 * label + 10 on say the label, and the teacher is sure of it."""
    rng = torch.Generator().manual_seed(seed)
    hard = torch.arange(count) % CLASSES
    common = torch.randint(1, 10, (count, 4), generator=rng)
    telling = torch.randint(0, 10, (count, 4), generator=rng) + 10 + 10 * hard.unsqueeze(1)
    logits = 5 * torch.nn.functional.one_hot(hard, CLASSES).float()
    return Targets(torch.cat([common, telling], 1).tolist(), logits, hard)


TRAIN = sample(60, 0)


def fresh(spec: DistilSpec, kind: StudentKind = "bag", base: torch.Tensor = BASE) -> Student:
    return new_student(ARCHITECTURES[kind], VOCABULARY, base, CLASSES, spec, CPU)


def train(student: Student, spec: DistilSpec, epochs: int | None = None, losses: list[EpochLosses] | None = None) -> EpochLosses:
    report = losses.append if losses is not None else lambda _: None
    return train_student(student, TRAIN, spec, epochs or spec.epochs, report, lambda: None)


@pytest.mark.parametrize("kind", ["cnn", "bilstm", "bag"])
def test_it_learns(kind: StudentKind) -> None:
    losses: list[EpochLosses] = []
    spec = DistilSpec(epochs=5, min_steps=40, batch_size=16)
    student = fresh(spec, kind)
    last = train(student, spec, losses=losses)
    test = sample(90, 2)
    assert (student_logits(shipped(student, VOCABULARY), test.ids, 0).argmax(-1) == test.hard).float().mean() > 0.9
    assert [entry.epoch for entry in losses] == [1, 2, 3, 4, 5]
    assert losses[-1] == last
    assert last.kd_loss < losses[0].kd_loss


def test_a_seed_repeats_its_student() -> None:
    found = []
    for seed in (1, 1, 2):
        spec = DistilSpec(epochs=2, min_steps=8, seed=seed)
        student = fresh(spec)
        train(student, spec)
        found.append(student_logits(shipped(student, VOCABULARY), sample(9, 3).ids, 0))
    assert torch.equal(found[0], found[1])
    assert not torch.equal(found[0], found[2])


@pytest.mark.parametrize("epochs", [3, 1])
def test_a_small_set_is_repeated_as_often_in_an_epoch_however_many_epochs_there_are(epochs: int) -> None:
    """The 60 texts are four batches, and `min_steps` is of a whole training of three epochs."""
    steps: Counter[str] = Counter()
    spec = DistilSpec(epochs=3, min_steps=50, batch_size=16)
    train_student(fresh(spec), TRAIN, spec, epochs, lambda _: None, lambda: steps.update(["step"]))
    assert steps["step"] == epochs * 5 * 4
    assert 50 <= 3 * 5 * 4 < 50 + 3 * 4


def test_what_ships_is_plain_in_half_precision_and_stays_as_it_was() -> None:
    spec = DistilSpec(epochs=1, min_steps=8)
    student = fresh(spec)
    train(student, spec)
    plain = shipped(student, VOCABULARY)
    table = plain.embedding.table
    assert table.dtype == torch.float16
    assert table.shape == (PIECES, student.embedding.width)
    assert not plain.training
    before = {name: tensor.clone() for name, tensor in plain.state_dict().items()}
    folded = {name: tensor.clone() for name, tensor in student.state_dict().items()}
    train(student, spec)  # the folded one can go on, and does
    assert all(torch.equal(before[name], tensor) for name, tensor in plain.state_dict().items())
    assert not any(torch.equal(folded[name], tensor) for name, tensor in student.state_dict().items() if tensor.is_floating_point())


def test_more_epochs_go_on_from_where_it_was() -> None:
    losses: list[EpochLosses] = []
    spec = DistilSpec(epochs=5, min_steps=40, batch_size=16)
    student = fresh(spec)
    train(student, spec, losses=losses)
    train(student, spec, epochs=2, losses=losses)
    assert [entry.epoch for entry in losses] == [1, 2, 3, 4, 5, 1, 2]
    assert losses[5].kd_loss < 0.5 * losses[0].kd_loss


def test_targets_are_repeated_and_joined_row_by_row() -> None:
    one, other = sample(4, 0), sample(3, 1)
    both = one.repeat(2) + other
    assert both.ids == [*one.ids, *one.ids, *other.ids]
    assert torch.equal(both.logits, torch.cat([one.logits, one.logits, other.logits]))
    assert both.hard.tolist() == [0, 1, 2, 0, 0, 1, 2, 0, 0, 1, 2]


def test_a_loss_that_is_not_finite_is_refused() -> None:
    base = BASE.clone()
    base[20] = torch.inf
    spec = DistilSpec(epochs=2, min_steps=1)
    with pytest.raises(FloatingPointError, match=r"lower spec\.distil\.learning_rate"):
        train(fresh(spec, base=base), spec)


def test_texts_become_ids_as_when_served() -> None:
    tokenizer = Tokenizer(WordLevel({"[PAD]": 0, "[UNK]": 1, "card": 2}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = WhitespaceSplit()
    assert student_ids(tokenizer, ["card x card card", "card", ""], 3, 0) == [[2, 1, 2], [2], [0]]


@pytest.mark.parametrize(
    ("epochs", "texts", "fits"),
    [(10, 160, 10), (10, 161, 9), (10, 801, 1), (10, 100_000, 1), (5, 160, 5), (5, 480, 1), (5, 320, 2)],
)
def test_epochs_are_as_many_as_fit_into_their_share_of_the_steps(epochs: int, texts: int, fits: int) -> None:
    assert epochs_within(DistilSpec(epochs=10, max_steps=100, batch_size=16), epochs, texts) == fits
