"""The holdout through all stages: it never reaches what is measured on it, and what is published only where that is wanted."""

from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from app.contracts.report import Report
from app.contracts.rows import Row
from app.contracts.spec import JobSpec
from app.contracts.students import ONNX_FILE, REPORT_FILE, STUDENT_MANIFEST_FILE, StudentManifest
from tests.workers.conftest import MemoryRecorder, NewFolder, StageResult
from tests.workers.tiny import tiny_spec
from workers.pipeline.distil import RUNS, DistilInputs, DistilMetrics, distil
from workers.pipeline.finetune_teacher import TeacherInputs, TeacherMetrics, finetune_teacher
from workers.pipeline.generate import TEXTS_FILE, GenerateMetrics
from workers.pipeline.label import LabelInputs, label
from workers.pipeline.publish import PublishInputs, publish
from workers.training.split import Split
from workers.training.transfer import LOGITS_FILE, TRANSFER_FILE


@dataclass(frozen=True)
class Made:
    """What the stages that read the rows made of one split."""

    split: Split
    teacher: Path
    transfer: Path
    students: Path
    teacher_metrics: TeacherMetrics
    distil_metrics: DistilMetrics

    def student(self, run: str) -> dict[str, Tensor]:
        return load_file(self.students / f"{run}.safetensors")

    def encoder(self, lineage: str) -> dict[str, Tensor]:
        return load_file(self.teacher / lineage / "model.safetensors")


@pytest.fixture(scope="module")
def quick(teacher_model: Path, generator_model: Path) -> JobSpec:
    short = {"epochs": 1, "refit_epochs": 1}
    return tiny_spec(teacher_model, generator_model, teacher=short, distil={**short, "min_steps": 4, "student": "bag"})


def make(split: Split, spec: JobSpec, teacher_model: Path, texts: Path, new_folder: NewFolder) -> Made:
    teacher, transfer, students = (new_folder(name) for name in ("teacher", "transfer", "students"))
    taught = finetune_teacher(TeacherInputs(split, teacher_model, spec.teacher), teacher, MemoryRecorder())
    label(LabelInputs(split, teacher, texts, spec.teacher, spec.label), [], transfer, MemoryRecorder())
    distilled = distil(DistilInputs(split, teacher, transfer, spec.distil), students, MemoryRecorder())
    return Made(split, teacher, transfer, students, taught, distilled)


@pytest.fixture(scope="module")
def refit(split: Split, quick: JobSpec, teacher_model: Path, generated: StageResult[GenerateMetrics], new_folder: NewFolder) -> Made:
    return make(split, quick, teacher_model, generated.folder / TEXTS_FILE, new_folder)


@pytest.fixture(scope="module")
def measured_only(
    split: Split, quick: JobSpec, teacher_model: Path, generated: StageResult[GenerateMetrics], new_folder: NewFolder
) -> Made:
    return make(replace(split, refit=False), quick, teacher_model, generated.folder / TEXTS_FILE, new_folder)


def same(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    assert one.keys() == other.keys()
    return all(torch.equal(one[name], other[name]) for name in one)


def test_another_holdout_changes_what_is_published_and_nothing_that_is_measured(
    refit: Made, quick: JobSpec, teacher_model: Path, generated: StageResult[GenerateMetrics], new_folder: NewFolder
) -> None:
    turned = {label: refit.split.labels[place - 1] for place, label in enumerate(refit.split.labels)}
    split = replace(refit.split, holdout=[Row(f"{row.text} again", turned[row.label]) for row in refit.split.holdout])
    other = make(split, quick, teacher_model, generated.folder / TEXTS_FILE, new_folder)
    assert same(refit.encoder("measured"), other.encoder("measured"))
    assert not same(refit.encoder("published"), other.encoder("published"))
    one, two = (load_file(made.transfer / LOGITS_FILE) for made in (refit, other))
    assert torch.equal(one["measured"], two["measured"])
    assert not torch.equal(one["published"], two["published"])
    for run in RUNS:
        assert same(refit.student(run), other.student(run))
    assert not same(refit.student("published"), other.student("published"))


def test_the_published_models_learn_from_the_holdout_besides(refit: Made, quick: JobSpec) -> None:
    seeds, held = len(refit.split.train) + len(refit.split.validation), len(refit.split.holdout)
    assert refit.teacher_metrics.rows == {"measured": seeds, "published": seeds + held}
    assert refit.distil_metrics.texts["published"] == refit.distil_metrics.texts["student"] + quick.distil.seed_repeats * held
    assert not same(refit.student("published"), refit.student("student"))


def test_without_refit_the_holdout_is_nowhere_and_no_second_lineage_is_made(measured_only: Made, refit: Made) -> None:
    assert [folder.name for folder in measured_only.teacher.iterdir()] == ["measured"]
    assert set(load_file(measured_only.transfer / LOGITS_FILE)) == {"measured"}
    written = (measured_only.transfer / TRANSFER_FILE).read_text(encoding="utf-8")
    assert not [row.text for row in measured_only.split.holdout if row.text in written]
    assert {file.stem for file in measured_only.students.glob("*.safetensors")} == set(RUNS)
    assert set(measured_only.distil_metrics.texts) == set(RUNS)
    for run in RUNS:  # what is measured does not depend on what comes after
        assert same(measured_only.student(run), refit.student(run))


def test_without_refit_the_measured_student_is_published(measured_only: Made, refit: Made, quick: JobSpec, new_folder: NewFolder) -> None:
    folders = []
    for made in (measured_only, refit):
        folders.append(new_folder("published"))
        inputs = PublishInputs(
            made.split, "split", made.teacher, made.students, made.transfer, quick.teacher, quick.publish, {"kept": 1}, [], {}
        )
        publish(inputs, folders[-1], MemoryRecorder())
    reports = [Report.model_validate_json((folder / REPORT_FILE).read_bytes()) for folder in folders]
    manifests = [StudentManifest.model_validate_json((folder / STUDENT_MANIFEST_FILE).read_bytes()) for folder in folders]
    assert [report.refit for report in reports] == [manifest.lineage["refit"] for manifest in manifests] == [False, True]
    assert manifests[0].metrics == manifests[1].metrics
    assert [entry.confusion_matrix for entry in reports[0].entries] == [entry.confusion_matrix for entry in reports[1].entries]
    assert (folders[0] / ONNX_FILE).read_bytes() != (folders[1] / ONNX_FILE).read_bytes()
