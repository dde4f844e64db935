"""Stage 1 on a tiny encoder."""

from pathlib import Path

import pytest
import torch

from app.contracts.rows import Row
from app.contracts.spec import JobSpec, TeacherSpec
from tests.workers.conftest import MemoryRecorder, StageResult
from workers.pipeline.finetune_teacher import TeacherInputs, TeacherMetrics, finetune_teacher
from workers.training.encoder import encode, load_teacher, predict_logits
from workers.training.recorder import StageStopped
from workers.training.split import Split


def logits_of(folder: Path, texts: list[str]) -> torch.Tensor:
    teacher, tokenizer = load_teacher(folder)
    return predict_logits(teacher, encode(tokenizer, texts, 64), 0, 16, torch.device("cpu"))


def test_it_learns_the_signal(teacher: StageResult[TeacherMetrics], split: Split) -> None:
    answers = logits_of(teacher.folder, [row.text for row in split.holdout]).argmax(-1)
    accuracy = (answers == torch.tensor(split.targets(split.holdout))).float().mean().item()
    assert accuracy > 0.5  # chance is a third
    assert teacher.metrics.validation_accuracy > 0.5


def test_it_tells_how_far_it_is(teacher: StageResult[TeacherMetrics], spec: JobSpec) -> None:
    steps = [done for done, total in teacher.recorder.steps]
    assert steps == sorted(steps)
    assert 0 < steps[0] < 1
    assert steps[-1] == teacher.metrics.epochs
    assert {total for _, total in teacher.recorder.steps} == {spec.teacher.epochs}
    epochs = [data for type, data in teacher.recorder.events if type == "epoch"]
    assert [data["epoch"] for data in epochs] == list(range(1, teacher.metrics.epochs + 1))
    assert epochs[-1]["loss"] < 0.5 * epochs[0]["loss"]
    kept = epochs[teacher.metrics.kept_epoch - 1]
    assert kept["validation_accuracy"] == teacher.metrics.validation_accuracy
    assert kept["validation_loss"] == teacher.metrics.validation_loss


def test_what_is_saved_is_the_kept_epoch(teacher: StageResult[TeacherMetrics], split: Split) -> None:
    answers = logits_of(teacher.folder, [row.text for row in split.validation]).argmax(-1)
    accuracy = (answers == torch.tensor(split.targets(split.validation))).float().mean().item()
    assert accuracy == pytest.approx(teacher.metrics.validation_accuracy)
    network, _ = load_teacher(teacher.folder)
    assert teacher.metrics.parameters == sum(parameter.numel() for parameter in network.parameters())


def test_it_stops_early_when_validation_gets_worse(split: Split, spec: JobSpec, teacher_model: Path, tmp_path: Path) -> None:
    """Validation rows whose labels are all wrong: the more it learns, the worse it scores."""
    turned = {label: split.labels[place - 1] for place, label in enumerate(split.labels)}
    worse = Split(split.labels, split.train, [Row(row.text, turned[row.label]) for row in split.validation * 4], split.holdout)
    patient = spec.teacher.model_copy(update={"epochs": 40, "patience": 2})
    metrics = finetune_teacher(TeacherInputs(worse, teacher_model, patient), tmp_path, MemoryRecorder())
    assert metrics.epochs < 30
    assert metrics.epochs == metrics.kept_epoch + 2
    assert (tmp_path / "head.safetensors").is_file()


def test_a_seed_repeats_its_teacher(split: Split, spec: JobSpec, teacher_model: Path, tmp_path: Path) -> None:
    found = []
    for number, seed in enumerate([3, 3, 4]):
        folder = tmp_path / str(number)
        folder.mkdir()
        short = spec.teacher.model_copy(update={"epochs": 1, "seed": seed})
        finetune_teacher(TeacherInputs(split, teacher_model, short), folder, MemoryRecorder())
        found.append(logits_of(folder, ["card post mail"]))
    assert torch.equal(found[0], found[1])
    assert not torch.equal(found[0], found[2])


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_loss_that_is_not_finite_ends_the_stage(precision: str, split: Split, teacher_model: Path, tmp_path: Path) -> None:
    # Beyond what a caller may ask for; a real model needs less.
    wild = TeacherSpec(epochs=3).model_copy(update={"learning_rate": 1e25, "head_learning_rate": 1e25, "precision": precision})
    with pytest.raises(FloatingPointError, match=r"lower spec\.teacher\.learning_rate"):
        finetune_teacher(TeacherInputs(split, teacher_model, wild), tmp_path, MemoryRecorder())
    assert not list(tmp_path.iterdir())


def test_it_stops_at_a_safe_point(split: Split, spec: JobSpec, teacher_model: Path, tmp_path: Path) -> None:
    recorder = MemoryRecorder(stop=StageStopped(), stop_after=2)
    with pytest.raises(StageStopped):
        finetune_teacher(TeacherInputs(split, teacher_model, spec.teacher), tmp_path, recorder)
    assert len(recorder.steps) == 3
    assert not list(tmp_path.iterdir())
