"""Stage 5: three students that differ in their texts and targets alone, and the one that goes on."""

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
from workers.training.checkpoints import CURVE_FILE, load_student
from workers.training.distillation import student_ids, student_logits
from workers.training.recorder import StageStopped
from workers.training.split import Lineage, Split
from workers.training.transfer import Part, read_transfer

ALL = (*RUNS, Lineage.PUBLISHED)


def test_four_students_are_written(distilled: StageResult[DistilMetrics], spec: JobSpec) -> None:
    shapes = {run: load_student(distilled.folder, run)[1] for run in ALL}
    assert set(RUNS) == {"student", "no_generation", "seed_only"}
    assert len(set(shapes.values())) == 1
    student, shape = load_student(distilled.folder, "student")
    assert (shape.kind, shape.classes, shape.max_tokens, shape.pad_id) == (spec.distil.student, 3, 32, 0)
    assert distilled.metrics.parameters == parameter_count(student) <= spec.distil.max_parameters
    assert distilled.metrics.dimensions == shape.dimensions
    assert distilled.metrics.vocabulary == 227
    assert {file.name for file in distilled.folder.iterdir()} == {TOKENIZER_FILE, CURVE_FILE} | {
        f"{run}.{end}" for run in ALL for end in ("json", "safetensors")
    }


def test_they_learn_and_differ(distilled: StageResult[DistilMetrics], split: Split) -> None:
    tokenizer = Tokenizer.from_file(str(distilled.folder / TOKENIZER_FILE))
    ids = student_ids(tokenizer, [row.text for row in split.holdout], 32, 0)
    truth, answers = torch.tensor(split.targets(split.holdout)), {}
    for run in ALL:
        answers[run] = student_logits(load_student(distilled.folder, run)[0], ids, 0)
        assert (answers[run].argmax(-1) == truth).float().mean() > 0.5
    assert not torch.equal(answers["student"], answers["published"])
    assert not torch.equal(answers["student"], answers["no_generation"])
    assert not torch.equal(answers["no_generation"], answers["seed_only"])


def test_it_tells_each_epoch_of_each_run(distilled: StageResult[DistilMetrics], spec: JobSpec) -> None:
    epochs, refit = spec.distil.epochs, spec.distil.refit_epochs
    total = 3 * epochs + refit
    assert distilled.recorder.steps == [(done, total) for done in range(1, total + 1)]
    told = [data for type, data in distilled.recorder.events if type == "metric"]
    lengths = {"seed_only": epochs, "no_generation": epochs, "student": epochs, "published": refit}
    assert [(data["run"], data["step"]) for data in told] == [(run, epoch) for run in lengths for epoch in range(1, lengths[run] + 1)]
    by_epoch = {(data["run"], data["step"]): data for data in told}
    alpha = {run: 0.0 if run == "seed_only" else spec.distil.alpha for run in lengths}
    for data in told:
        share = alpha[data["run"]]
        assert data["value"] == pytest.approx(share * data["kd_loss"] + (1 - share) * data["class_loss"])
        assert (data["series"], data["of"]) == (f"{data['run']}_loss", lengths[data["run"]])
    assert distilled.metrics.kd_loss == {run: by_epoch[run, lengths[run]]["kd_loss"] for run in lengths}
    assert by_epoch["student", 1]["kd_loss"] > by_epoch["student", epochs]["kd_loss"]
    assert by_epoch["student", 1]["kd_loss"] > by_epoch["published", 1]["kd_loss"]  # it goes on, and does not start anew


def test_each_run_has_its_own_texts(
    distilled: StageResult[DistilMetrics], labelled: StageResult[LabelMetrics], split: Split, spec: JobSpec
) -> None:
    parts = read_transfer(labelled.folder, split.labels, Lineage.PUBLISHED)
    size = {part: len(parts[part].texts) for part in Part}
    own = spec.distil.seed_repeats * size[Part.SEED] + size[Part.RECOMBINED_SEED]
    student = own + size[Part.GENERATED] + size[Part.RECOMBINED]
    published = student + spec.distil.seed_repeats * size[Part.HOLDOUT]
    assert all(size.values())
    assert distilled.metrics.texts == {
        "seed_only": size[Part.SEED], "no_generation": own, "student": student, "published": published,
    }  # fmt: skip


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
