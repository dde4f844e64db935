"""Stage 5: three students that differ in their texts and targets alone."""

from pathlib import Path

import pytest
import torch
from tokenizers import Tokenizer

from app.contracts.spec import JobSpec
from app.contracts.students import TOKENIZER_FILE
from tests.workers.conftest import MemoryRecorder, StageResult
from workers.pipeline.distil import RUNS, DistilInputs, DistilMetrics, distil
from workers.pipeline.finetune_teacher import TeacherMetrics
from workers.pipeline.label import LabelMetrics
from workers.students.base import parameter_count
from workers.training.checkpoints import load_student
from workers.training.distillation import student_ids, student_logits
from workers.training.recorder import StageStopped
from workers.training.split import Split


def test_three_students_are_written(distilled: StageResult[DistilMetrics], spec: JobSpec) -> None:
    shapes = {run: load_student(distilled.folder, run)[1] for run in RUNS}
    assert set(RUNS) == {"student", "no_generation", "seed_only"}
    assert len(set(shapes.values())) == 1
    student, shape = load_student(distilled.folder, "student")
    assert (shape.kind, shape.classes, shape.max_tokens, shape.pad_id) == (spec.distil.student, 3, 32, 0)
    assert distilled.metrics.parameters == parameter_count(student) <= spec.distil.max_parameters
    assert distilled.metrics.dimensions == shape.dimensions
    assert distilled.metrics.vocabulary == 227
    assert {file.name for file in distilled.folder.iterdir()} == {TOKENIZER_FILE} | {
        f"{run}.{end}" for run in RUNS for end in ("json", "safetensors")
    }


def test_they_learn_and_differ(distilled: StageResult[DistilMetrics], split: Split) -> None:
    tokenizer = Tokenizer.from_file(str(distilled.folder / TOKENIZER_FILE))
    ids = student_ids(tokenizer, [row.text for row in split.holdout], 32, 0)
    truth, answers = torch.tensor(split.targets(split.holdout)), {}
    for run in RUNS:
        answers[run] = student_logits(load_student(distilled.folder, run)[0], ids, 0)
        assert (answers[run].argmax(-1) == truth).float().mean() > 0.5
    assert not torch.equal(answers["student"], answers["no_generation"])
    assert not torch.equal(answers["no_generation"], answers["seed_only"])


def test_it_tells_each_epoch_of_each_run(distilled: StageResult[DistilMetrics], spec: JobSpec) -> None:
    epochs = spec.distil.epochs
    assert distilled.recorder.steps == [(done, 3 * epochs) for done in range(1, 3 * epochs + 1)]
    told = [data for type, data in distilled.recorder.events if type == "epoch"]
    assert [(data["run"], data["epoch"]) for data in told] == [(run, epoch) for run in RUNS for epoch in range(1, epochs + 1)]
    by_epoch = {(data["run"], data["epoch"]): data for data in told}
    for run in RUNS:
        kept = by_epoch[run, distilled.metrics.kept_epoch[run]]
        assert kept["validation_loss"] == distilled.metrics.validation_loss[run]
        assert kept["validation_accuracy"] == distilled.metrics.validation_accuracy[run]
    assert told[0]["kd_loss"] > by_epoch["student", epochs]["kd_loss"]


def test_the_tokenizer_neither_cuts_nor_pads(distilled: StageResult[DistilMetrics]) -> None:
    tokenizer = Tokenizer.from_file(str(distilled.folder / TOKENIZER_FILE))
    assert tokenizer.padding is None
    assert tokenizer.truncation is None
    lengths = [len(encoding.ids) for encoding in tokenizer.encode_batch(["card", "card " * 600], add_special_tokens=False)]
    assert lengths == [1, 600]


@pytest.mark.parametrize("kind", ["bag", "bilstm"])
def test_the_other_kinds_train_on_the_same_inputs(
    kind: str, split: Split, spec: JobSpec, teacher: StageResult[TeacherMetrics], labelled: StageResult[LabelMetrics], tmp_path: Path
) -> None:
    other = spec.distil.model_copy(update={"student": kind, "epochs": 1, "min_steps": 3})
    metrics = distil(DistilInputs(split, teacher.folder, labelled.folder, other), tmp_path, MemoryRecorder())
    student, shape = load_student(tmp_path, "student")
    assert shape.kind == kind
    assert parameter_count(student) == metrics.parameters


def test_a_budget_that_is_too_small_says_what_to_raise(
    split: Split, spec: JobSpec, teacher: StageResult[TeacherMetrics], labelled: StageResult[LabelMetrics], tmp_path: Path
) -> None:
    small = spec.distil.model_copy(update={"max_parameters": 3000})
    with pytest.raises(ValueError, match=r"raise spec\.distil\.max_parameters"):
        distil(DistilInputs(split, teacher.folder, labelled.folder, small), tmp_path, MemoryRecorder())


def test_it_stops_at_a_safe_point(
    split: Split, spec: JobSpec, teacher: StageResult[TeacherMetrics], labelled: StageResult[LabelMetrics], tmp_path: Path
) -> None:
    inputs = DistilInputs(split, teacher.folder, labelled.folder, spec.distil)
    with pytest.raises(StageStopped):
        distil(inputs, tmp_path, MemoryRecorder(stop=StageStopped(), stop_after=5))
    assert not list(tmp_path.iterdir())
