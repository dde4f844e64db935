"""Stage 1 on a tiny encoder."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from app.contracts.spec import JobSpec, TeacherSpec
from tests.workers.conftest import MemoryRecorder, StageResult
from workers.pipeline.finetune_teacher import TeacherInputs, TeacherMetrics, finetune_teacher
from workers.training.encoder import encode, load_teacher, new_teacher, predict_logits
from workers.training.recorder import StageStopped
from workers.training.split import Lineage, Split


def logits_of(folder: Path, texts: list[str]) -> torch.Tensor:
    teacher, tokenizer = load_teacher(folder)
    return predict_logits(teacher, encode(tokenizer, texts, 64), 0, 16, torch.device("cpu"))


def accuracy_of(folder: Path, split: Split) -> float:
    answers = logits_of(folder, [row.text for row in split.holdout]).argmax(-1)
    return (answers == torch.tensor(split.targets(split.holdout))).float().mean().item()


def test_it_learns_the_signal_and_then_the_holdout(teacher: StageResult[TeacherMetrics], split: Split) -> None:
    measured = accuracy_of(teacher.folder / Lineage.MEASURED, split)
    assert measured > 0.5  # chance is a third
    assert accuracy_of(teacher.folder / Lineage.PUBLISHED, split) > measured
    assert teacher.metrics.rows == {
        "measured": len(split.train) + len(split.validation),
        "published": len(split.train) + len(split.validation) + len(split.holdout),
    }
    network, _ = load_teacher(teacher.folder / Lineage.MEASURED)
    assert teacher.metrics.parameters == sum(parameter.numel() for parameter in network.parameters())


def test_it_tells_how_far_it_is(teacher: StageResult[TeacherMetrics], spec: JobSpec) -> None:
    first, total = spec.teacher.epochs, spec.teacher.epochs + spec.teacher.refit_epochs
    steps = [done for done, _ in teacher.recorder.steps]
    assert steps == sorted(steps)
    assert 0 < steps[0] < 1
    assert steps[-1] == total == teacher.metrics.epochs
    assert {of for _, of in teacher.recorder.steps} == {total}
    points = [data for type, data in teacher.recorder.events if type == "metric"]
    assert {data["of"] for data in points} == {total}
    for lineage, begin, end in (("measured", 0, first), ("published", first, total)):
        curve = [data for data in points if data["series"] == f"{lineage}_loss"]
        told = [data["step"] for data in curve]
        assert begin < told[0] < begin + 1
        assert told == sorted(set(told))
        assert told[-1] == end
        assert len(told) <= 50
        assert {data["lineage"] for data in curve} == {lineage}
    measured = [data["value"] for data in points if data["lineage"] == "measured"]
    assert measured[-1] < 0.7 * measured[0]
    assert teacher.metrics.loss.keys() == {"measured", "published"}


@pytest.mark.parametrize("frozen", [True, False])
def test_a_frozen_word_table_is_saved_as_pretrained(frozen: bool, split: Split, spec: JobSpec, teacher_model: Path, tmp_path: Path) -> None:
    short = spec.teacher.model_copy(update={"epochs": 1, "refit_epochs": 1, "freeze_embeddings": frozen})
    finetune_teacher(TeacherInputs(split, teacher_model, short), tmp_path, MemoryRecorder())
    pretrained = new_teacher(teacher_model, 3).word_embeddings()
    for lineage in split.lineages:
        assert torch.equal(load_teacher(tmp_path / lineage)[0].word_embeddings(), pretrained) == frozen


def test_a_probe_is_a_better_start_than_chance(split: Split, spec: JobSpec, teacher_model: Path, tmp_path: Path) -> None:
    """With a learning rate that changes next to nothing, what is saved is the start."""
    for start in ("probe", "random"):
        still = spec.teacher.model_copy(update={"epochs": 1, "refit_epochs": 1, "learning_rate": 1e-9, "head_learning_rate": 1e-9})
        out = tmp_path / start
        finetune_teacher(TeacherInputs(split, teacher_model, still.model_copy(update={"head_init": start})), out, MemoryRecorder())
    assert accuracy_of(tmp_path / "probe" / "measured", split) > accuracy_of(tmp_path / "random" / "measured", split) + 0.2
    # The published lineage goes on from the measured one: its head is not made anew.
    heads = [load_file(tmp_path / "probe" / lineage / "head.safetensors")["weight"] for lineage in split.lineages]
    assert torch.allclose(heads[0], heads[1], atol=1e-6)


def test_a_seed_repeats_its_teacher(split: Split, spec: JobSpec, teacher_model: Path, tmp_path: Path) -> None:
    found = []
    for number, seed in enumerate([3, 3, 4]):
        short = spec.teacher.model_copy(update={"epochs": 1, "refit_epochs": 1, "seed": seed})
        finetune_teacher(TeacherInputs(split, teacher_model, short), tmp_path / str(number), MemoryRecorder())
        found.append([logits_of(tmp_path / str(number) / lineage, ["card post mail"]) for lineage in split.lineages])
    for first, same, other in zip(*found, strict=True):
        assert torch.equal(first, same)
        assert not torch.equal(first, other)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_loss_that_is_not_finite_ends_the_stage(precision: str, split: Split, teacher_model: Path, tmp_path: Path) -> None:
    # Beyond what a caller may ask for; a real model needs less.
    wild = TeacherSpec(epochs=3).model_copy(update={"learning_rate": 1e25, "head_learning_rate": 1e25, "precision": precision})
    with pytest.raises(FloatingPointError, match=r"lower spec\.teacher\.learning_rate"):
        finetune_teacher(TeacherInputs(split, teacher_model, wild), tmp_path, MemoryRecorder())
    assert not list(tmp_path.iterdir())


def test_it_stops_at_a_safe_point(split: Split, spec: JobSpec, teacher_model: Path, tmp_path: Path) -> None:
    recorder = MemoryRecorder(stop=StageStopped(), stop_after=5)
    with pytest.raises(StageStopped):
        finetune_teacher(TeacherInputs(split, teacher_model, spec.teacher), tmp_path, recorder)
    assert 0 < len(recorder.steps) < 6
    assert not list(tmp_path.iterdir())


def test_it_can_be_stopped_while_it_reads_for_the_probe(split: Split, spec: JobSpec, teacher_model: Path, tmp_path: Path) -> None:
    recorder = MemoryRecorder(stop=StageStopped())
    with pytest.raises(StageStopped):
        finetune_teacher(TeacherInputs(split, teacher_model, spec.teacher), tmp_path, recorder)
    assert recorder.steps == []
