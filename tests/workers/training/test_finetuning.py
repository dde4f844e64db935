"""The teacher's training: its start, what moves and what does not, and how rows are weighed."""

import math
from pathlib import Path
from typing import Any

import pytest
import torch

from app.contracts.spec import TeacherSpec
from tests.workers.tiny import LABELS, make_rows
from workers.training import finetuning
from workers.training.encoder import Teacher, encode, load_tokenizer, new_teacher, pooled_features, predict_logits
from workers.training.finetuning import LabelledIds, class_weights, finetune, start_from_probe
from workers.training.probe import linear_probe

CPU = torch.device("cpu")
PROBED = "the probe reads"


@pytest.fixture
def teacher(teacher_model: Path) -> Teacher:
    torch.manual_seed(0)
    return new_teacher(teacher_model, 3)


@pytest.fixture(scope="module")
def rows(teacher_model: Path) -> LabelledIds:
    made = make_rows(16)
    ids = encode(load_tokenizer(teacher_model), [row.text for row in made], 64)
    return LabelledIds(ids, torch.tensor([LABELS.index(row.label) for row in made]))


def train(teacher: Teacher, rows: LabelledIds, epochs: int = 2, **changes: Any) -> tuple[float, list[float], list[tuple[float, float]]]:
    """The last loss, the steps and the points of the curve that were told."""
    steps: list[float] = []
    told: list[tuple[float, float]] = []
    fast = {"learning_rate": 5e-3, "head_learning_rate": 1e-2, "precision": "fp32", "batch_size": 8, **changes}
    loss = finetune(teacher, rows, 0, TeacherSpec(**fast), epochs, CPU, steps.append, lambda done, mean: told.append((done, mean)))
    return loss, steps, told


def test_the_head_starts_as_the_probe_of_the_encoder_as_it_is(teacher: Teacher, rows: LabelledIds) -> None:
    before = {name: tensor.clone() for name, tensor in teacher.encoder.state_dict().items()}
    reads: list[str] = []
    start_from_probe(teacher, rows, 0, TeacherSpec(precision="fp32"), CPU, lambda: reads.append(PROBED))
    features = pooled_features(teacher, rows.ids, 0, 64, CPU)
    weight, bias = linear_probe(features, rows.targets, 3)
    assert torch.allclose(predict_logits(teacher, rows.ids, 0, 8, CPU), features @ weight.T + bias, atol=1e-4)
    assert all(torch.equal(before[name], tensor) for name, tensor in teacher.encoder.state_dict().items())
    assert reads == [PROBED]  # 48 rows are one batch


def test_a_frozen_word_table_stays_and_all_else_moves(teacher: Teacher, rows: LabelledIds) -> None:
    before = {name: parameter.detach().clone() for name, parameter in teacher.named_parameters()}
    train(teacher, rows, freeze_embeddings=True)
    still = {name for name, parameter in teacher.named_parameters() if torch.equal(before[name], parameter)}
    # The pooler of a BertModel is not used.
    assert {name for name in still if "pooler" not in name} == {"encoder.embeddings.word_embeddings.weight"}


def test_a_word_table_that_is_not_frozen_moves(teacher: Teacher, rows: LabelledIds) -> None:
    before = teacher.word_embeddings().detach().clone()
    train(teacher, rows, freeze_embeddings=True)
    assert torch.equal(before, teacher.word_embeddings())
    train(teacher, rows, freeze_embeddings=False)  # also after it was frozen
    assert not torch.equal(before, teacher.word_embeddings())


@pytest.mark.parametrize("weight", [0.0, 0.5])
def test_it_learns_and_tells_how_far_it_is(weight: float, teacher: Teacher, rows: LabelledIds) -> None:
    loss, steps, told = train(teacher, rows, epochs=8, contrastive_weight=weight)
    assert steps == pytest.approx([step / 6 for step in range(1, 49)])  # 48 rows in batches of 8
    assert [done for done, _ in told] == steps  # so few are all points
    epochs = [sum(mean for _, mean in told[at : at + 6]) / 6 for at in range(0, 48, 6)]
    assert epochs[-1] == pytest.approx(loss)
    assert loss < 0.7 * epochs[0]
    assert not teacher.training
    answers = predict_logits(teacher, rows.ids, 0, 8, CPU).argmax(-1)
    assert (answers == rows.targets).float().mean() > 0.8


@pytest.mark.parametrize(("weight", "views"), [(0.0, 1), (0.5, 2)])
def test_the_contrastive_loss_reads_two_views_of_each_text(
    weight: float, views: int, teacher: Teacher, rows: LabelledIds, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[int] = []
    pooled = teacher.pooled
    monkeypatch.setattr(teacher, "pooled", lambda ids, mask: read.append(len(ids)) or pooled(ids, mask))
    seen: list[tuple[torch.Tensor, torch.Tensor]] = []
    loss = finetuning.supervised_contrastive_loss
    monkeypatch.setattr(
        finetuning,
        "supervised_contrastive_loss",
        lambda found, targets, t: seen.append((found.detach(), targets)) or loss(found, targets, t),
    )
    train(teacher, rows, epochs=1, contrastive_weight=weight)
    assert read == [8 * views] * 6
    assert len(seen) == (6 if weight else 0)
    for embeddings, targets in seen:
        one, other = embeddings.chunk(2)
        assert torch.equal(*targets.chunk(2))
        assert not torch.allclose(one, other, atol=1e-3)  # dropout draws anew for each view


def test_the_contrastive_loss_counts_by_its_weight(teacher_model: Path, rows: LabelledIds, monkeypatch: pytest.MonkeyPatch) -> None:
    """With learning rates that change next to nothing, two weights see the same batches and the same dropout."""
    seen: list[float] = []
    loss = finetuning.supervised_contrastive_loss

    def watched(embeddings: torch.Tensor, targets: torch.Tensor, temperature: float) -> torch.Tensor:
        assert temperature == 0.3
        seen.append((found := loss(embeddings, targets, temperature)).item())
        return found

    monkeypatch.setattr(finetuning, "supervised_contrastive_loss", watched)
    losses = []
    for weight in (0.5, 2.0):
        torch.manual_seed(0)
        still = {"learning_rate": 1e-12, "head_learning_rate": 1e-12, "contrastive_temperature": 0.3}
        losses.append(train(new_teacher(teacher_model, 3), rows, epochs=1, contrastive_weight=weight, **still)[0])
    assert losses[1] - losses[0] == pytest.approx(1.5 * sum(seen) / len(seen), rel=1e-3)


def test_a_loss_that_is_not_finite_is_refused_and_never_told(teacher: Teacher, rows: LabelledIds) -> None:
    with torch.no_grad():
        teacher.head.weight[0, 0] = math.inf
    told: list[tuple[float, float]] = []
    with pytest.raises(FloatingPointError, match=r"in epoch 1; lower spec\.teacher\.learning_rate"):
        finetune(teacher, rows, 0, TeacherSpec(precision="fp32"), 2, CPU, lambda _: None, lambda *args: told.append(args))
    assert told == []


def test_class_weights_are_inverse_frequencies() -> None:
    targets = torch.tensor([0] * 6 + [1] * 3 + [2] * 1)
    weights = class_weights(targets, 3)
    assert torch.allclose(weights, 10 / (3 * torch.tensor([6.0, 3.0, 1.0])))
    assert weights[targets].mean().item() == pytest.approx(1)
    assert torch.equal(class_weights(torch.tensor([0, 1, 2, 2, 1, 0]), 3), torch.ones(3))


def test_class_weights_are_finite_for_a_class_without_rows() -> None:
    assert torch.isfinite(class_weights(torch.tensor([0, 0, 1]), 3)).all()
