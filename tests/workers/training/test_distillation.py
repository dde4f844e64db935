"""The training of one student."""

from collections import Counter

import pytest
import torch
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import WhitespaceSplit

from app.contracts.spec import DistilSpec, StudentKind
from workers.students.registry import ARCHITECTURES
from workers.students.vocabulary import Vocabulary
from workers.training.distillation import EpochLosses, Fit, student_ids, student_logits, train_student
from workers.training.transfer import TransferPart

PIECES, CLASSES = 60, 3
VOCABULARY = Vocabulary(list(range(PIECES)), None, 0)
BASE = torch.randn(PIECES, 24, generator=torch.Generator().manual_seed(0))
CPU = torch.device("cpu")


def part_of(count: int, seed: int) -> tuple[list[list[int]], TransferPart]:
    """Texts of eight pieces; those from 10 * label + 10 on say the label, and the teacher is sure of it."""
    rng = torch.Generator().manual_seed(seed)
    hard = torch.arange(count) % CLASSES
    common = torch.randint(1, 10, (count, 4), generator=rng)
    telling = torch.randint(0, 10, (count, 4), generator=rng) + 10 + 10 * hard.unsqueeze(1)
    logits = 5 * torch.nn.functional.one_hot(hard, CLASSES).float()
    return torch.cat([common, telling], 1).tolist(), TransferPart([""] * count, logits, hard)


def fit(spec: DistilSpec, kind: StudentKind = "bag", losses: list[EpochLosses] | None = None, base: torch.Tensor = BASE) -> Fit:
    report = losses.append if losses is not None else lambda _: None
    architecture = ARCHITECTURES[kind]
    return train_student(architecture, VOCABULARY, base, part_of(60, 0), part_of(30, 1), spec, CPU, report, lambda: None)


@pytest.mark.parametrize("kind", ["cnn", "bilstm", "bag"])
def test_it_learns(kind: str) -> None:
    losses: list[EpochLosses] = []
    result = fit(DistilSpec(epochs=5, min_steps=40, batch_size=16), kind, losses)
    ids, part = part_of(90, 2)
    assert (student_logits(result.student, ids, 0).argmax(-1) == part.hard).float().mean() > 0.9
    assert [entry.epoch for entry in losses] == [1, 2, 3, 4, 5]
    assert losses[-1].kd_loss < losses[0].kd_loss
    assert result.validation_accuracy == losses[result.kept_epoch - 1].validation_accuracy
    assert result.validation_loss == losses[result.kept_epoch - 1].validation_loss


def test_a_seed_repeats_its_student() -> None:
    students = [fit(DistilSpec(epochs=2, min_steps=8, seed=seed)).student for seed in (1, 1, 2)]
    ids, _ = part_of(9, 3)
    first, same, other = (student_logits(student, ids, 0) for student in students)
    assert torch.equal(first, same)
    assert not torch.equal(first, other)


def test_a_small_set_is_repeated_to_the_least_number_of_steps() -> None:
    steps: Counter[str] = Counter()
    spec = DistilSpec(epochs=3, min_steps=50, batch_size=16)
    train_student(
        ARCHITECTURES["bag"], VOCABULARY, BASE, part_of(60, 0), part_of(30, 1), spec, CPU, lambda _: None, lambda: steps.update(["step"])
    )
    assert 50 <= steps["step"] < 50 + 3 * 4


def test_the_shipped_table_is_plain_and_in_half_precision() -> None:
    result = fit(DistilSpec(epochs=1, min_steps=1))
    table = result.student.embedding.table
    assert table.dtype == torch.float16
    assert table.shape == (PIECES, result.dimensions)
    assert not result.student.training


def test_a_loss_that_is_not_finite_is_refused() -> None:
    base = BASE.clone()
    base[20] = torch.inf
    with pytest.raises(FloatingPointError, match=r"lower spec\.distil\.learning_rate"):
        fit(DistilSpec(epochs=2, min_steps=1), base=base)


def test_texts_become_ids_as_when_served() -> None:
    tokenizer = Tokenizer(WordLevel({"[PAD]": 0, "[UNK]": 1, "card": 2}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = WhitespaceSplit()
    assert student_ids(tokenizer, ["card x card card", "card", ""], 3, 0) == [[2, 1, 2], [2], [0]]
