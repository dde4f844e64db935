"""Less memory on demand: micro-batches, whose gradients add up to those of the whole batch."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from app.contracts.spec import DistilSpec, TeacherSpec
from tests.workers.conftest import MemoryRecorder, NewFolder, Trainings
from tests.workers.tiny import LABELS, make_rows
from workers.pipeline import finetune_generator as generator_stage
from workers.pipeline.publish import PublishInputs, publish
from workers.students import vectors
from workers.students.base import Student
from workers.students.registry import ARCHITECTURES
from workers.students.vocabulary import Vocabulary
from workers.training import finetuning
from workers.training.batching import micro_batches
from workers.training.distillation import Targets, new_student, train_student
from workers.training.encoder import Teacher, encode, load_tokenizer, new_teacher
from workers.training.finetuning import LabelledIds, finetune
from workers.training.recorder import StageStopped

CPU = torch.device("cpu")


@pytest.mark.parametrize(
    ("rows", "shrink", "sizes"),
    [(8, 1, [8]), (8, 2, [4, 4]), (8, 3, [2, 2, 2, 2]), (5, 2, [4, 1]), (3, 2, [3]), (8, 100, [1] * 8), (0, 2, [])],
)
def test_micro_batches_hold_each_row_once_in_their_order(rows: int, shrink: int, sizes: list[int]) -> None:
    parts = list(micro_batches(list(range(rows)), 8, shrink))
    assert [len(part) for part in parts] == sizes
    assert list(chain(*parts)) == list(range(rows))


def closest(one: dict[str, Tensor], other: dict[str, Tensor]) -> float:
    assert one.keys() == other.keys()
    return max((one[name].float() - other[name].float()).abs().max().item() for name in one)


def taught(folder: Path, shrink: int) -> tuple[dict[str, Tensor], float]:
    """Classes of unlike size, so that rows weigh differently; the last batch of an epoch is a small one."""
    rows = make_rows(16)
    rows = rows[:28] + rows[-9:]
    ids = encode(load_tokenizer(folder), [row.text for row in rows], 64)
    torch.manual_seed(0)
    teacher = new_teacher(folder, 3)
    for module in teacher.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    spec = TeacherSpec(precision="fp32", batch_size=8, contrastive_weight=0)
    labelled = LabelledIds(ids, torch.tensor([LABELS.index(row.label) for row in rows]))
    loss = finetune(teacher, labelled, 0, spec, 2, CPU, lambda _: None, lambda *_: None, shrink)
    # A bias on all keys changes no attention: its gradient is zero but for rounding, of which AdamW makes a step all the same.
    return {name: tensor for name, tensor in teacher.state_dict().items() if not name.endswith("key.bias")}, loss


@pytest.mark.parametrize("shrink", [2, 3, 8])
def test_a_teacher_learns_the_same(shrink: int, teacher_model: Path) -> None:
    (whole, loss), (parts, other) = taught(teacher_model, 1), taught(teacher_model, shrink)
    assert closest(whole, parts) < 1e-5
    assert other == pytest.approx(loss, rel=1e-5)


@pytest.mark.parametrize("method", ["full", "lora"])
def test_a_generator_learns_the_same(method: str, trainings: Trainings, tmp_path: Path) -> None:
    changes = {"method": method, "learning_rate": 1e-4, "epochs": 2, "max_train_tokens": 100_000}
    weights, metrics = [], []
    for shrink in (1, 2):
        metrics.append(trainings.generator(tmp_path / str(shrink), MemoryRecorder(), shrink, **changes))
        weights.append(load_file(tmp_path / str(shrink) / "model.safetensors"))
    assert closest(*weights) < 1e-5
    assert metrics[1] == replace(metrics[0], validation_perplexity=pytest.approx(metrics[0].validation_perplexity, rel=1e-5))


def distilled(shrink: int) -> tuple[dict[str, Tensor], Any]:
    draw = torch.Generator().manual_seed(0)
    ids = torch.randint(1, 40, (45, 6), generator=draw).tolist()
    train = Targets(ids, torch.randn(45, 3, generator=draw), torch.arange(45) % 3)
    spec = DistilSpec(epochs=2, min_steps=6, batch_size=16, dropout=0, learning_rate=1e-3)
    vocabulary, base = Vocabulary(list(range(40)), None, 0), torch.randn(40, 24, generator=draw)
    student = new_student(ARCHITECTURES["cnn"], vocabulary, base, 3, spec, CPU)
    losses = train_student(student, train, spec, 2, lambda _: None, lambda: None, shrink)
    return student.state_dict(), losses


@pytest.mark.parametrize("shrink", [2, 5])
def test_a_student_learns_the_same(shrink: int) -> None:
    (whole, losses), (parts, others) = distilled(1), distilled(shrink)
    assert closest(whole, parts) < 1e-5
    assert (others.kd_loss, others.class_loss) == pytest.approx((losses.kd_loss, losses.class_loss), rel=1e-5)


@pytest.mark.parametrize("shrink", [1, 4])
def test_the_contrastive_loss_compares_within_a_micro_batch(shrink: int, teacher_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []
    loss = finetuning.supervised_contrastive_loss
    monkeypatch.setattr(finetuning, "supervised_contrastive_loss", lambda found, *rest: seen.append(len(found)) or loss(found, *rest))
    rows = LabelledIds([[2, 5 + number, 3] for number in range(16)], torch.arange(16) % 3)
    finetune(new_teacher(teacher_model, 3), rows, 0, TeacherSpec(batch_size=8), 1, CPU, lambda _: None, lambda *_: None, shrink)
    assert seen == [2 * 8 // shrink] * 2 * shrink


@pytest.fixture(scope="module")
def stages(trainings: Trainings) -> dict[str, Callable[..., Any]]:
    return {
        "teacher": partial(trainings.teacher, epochs=1, refit_epochs=1),
        "generator": partial(trainings.generator, epochs=1),
        "distil": partial(trainings.distil, epochs=1, refit_epochs=1, min_steps=1),
    }


@pytest.mark.parametrize("stage", ["teacher", "generator", "distil"])
def test_whatever_a_stage_reads_it_reads_in_so_many_parts(
    stage: str, stages: dict[str, Any], new_folder: NewFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[int] = []
    monkeypatch.setattr(vectors, "_BATCH", 100)  # the tiny encoder has less pieces than are read at once
    pooled, forward, loss = Teacher.pooled, Student.forward, generator_stage._loss
    monkeypatch.setattr(Teacher, "pooled", lambda self, ids, mask: read.append(len(ids)) or pooled(self, ids, mask))
    monkeypatch.setattr(Student, "forward", lambda self, ids: read.append(len(ids)) or forward(self, ids))
    monkeypatch.setattr(
        generator_stage, "_loss", lambda model, examples, device: read.append(len(examples)) or loss(model, examples, device)
    )
    most = []
    for shrink in (1, 4):
        read.clear()
        stages[stage](new_folder(stage), MemoryRecorder(), shrink)
        most.append(max(read))
    assert most[1] <= -(-most[0] // 4)


def test_the_holdout_is_read_in_so_many_parts(publish_inputs: PublishInputs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[int] = []
    pooled = Teacher.pooled
    monkeypatch.setattr(Teacher, "pooled", lambda self, ids, mask: read.append(len(ids)) or pooled(self, ids, mask))
    publish(replace(publish_inputs, shrink=16), tmp_path, MemoryRecorder())
    assert max(read) == 4


@pytest.mark.parametrize("stage", ["teacher", "generator", "distil"])
def test_a_stage_goes_on_in_smaller_parts_from_a_checkpoint_of_whole_batches(
    stage: str, stages: dict[str, Any], new_folder: NewFolder, tmp_path: Path
) -> None:
    first = MemoryRecorder(stop=StageStopped(), stop_after=5, checkpoint=tmp_path / "state")
    with pytest.raises(StageStopped):
        stages[stage](new_folder(stage), first)
    second, whole = MemoryRecorder(checkpoint=tmp_path / "state"), MemoryRecorder()
    stages[stage](new_folder(stage), second, 4)
    stages[stage](new_folder(stage), whole)
    assert first.asked + second.asked == whole.asked
