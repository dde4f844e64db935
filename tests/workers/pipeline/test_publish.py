"""Stage 6: the report, the files that ship, and the proof."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer

from app.contracts.comparison import ANSWERS_FILE
from app.contracts.report import Report
from app.contracts.spec import JobSpec, PublishSpec
from app.contracts.students import ONNX_FILE, REPORT_FILE, STUDENT_MANIFEST_FILE, TOKENIZER_FILE, PrecisionEntry, StudentManifest
from tests.workers.conftest import MemoryRecorder, NewFolder, StageResult
from tests.workers.pipeline.test_finetune_teacher import logits_of
from workers.pipeline import publish as stage
from workers.pipeline.distil import DistilInputs, DistilMetrics, distil
from workers.pipeline.publish import PublishInputs, PublishMetrics, publish
from workers.training.calibration import fit, softmax
from workers.training.candidates import run_logits
from workers.training.checkpoints import load_student
from workers.training.distillation import student_ids, student_logits
from workers.training.integer_export import TABLE
from workers.training.onnx_export import ParityError, onnx_logits
from workers.training.score_quality import brier_score
from workers.training.size_report import shipped_precision
from workers.training.split import Lineage, Split
from workers.training.transfer import TRANSFER_FILE, Part


@pytest.fixture
def report(published: StageResult[PublishMetrics]) -> Report:
    return Report.model_validate_json((published.folder / REPORT_FILE).read_bytes())


def test_only_what_is_needed_ships(published: StageResult[PublishMetrics]) -> None:
    names = {file.name for file in published.folder.iterdir()}
    assert names == {ONNX_FILE, TOKENIZER_FILE, STUDENT_MANIFEST_FILE, REPORT_FILE, ANSWERS_FILE}


def test_the_manifest_is_what_serving_relies_on(published: StageResult[PublishMetrics], split: Split) -> None:
    manifest = StudentManifest.model_validate_json((published.folder / STUDENT_MANIFEST_FILE).read_bytes())
    size = sum((published.folder / name).stat().st_size for name in (ONNX_FILE, TOKENIZER_FILE))
    assert manifest.labels == split.labels
    assert (manifest.kind, manifest.max_tokens, manifest.pad_id) == ("cnn", 32, 0)
    assert manifest.bytes == published.metrics.bytes == size
    assert manifest.parity == {"max_abs_logit_difference": published.metrics.max_abs_logit_difference, "rows": len(split.holdout)}
    assert 0 < published.metrics.max_abs_logit_difference < 1  # of the integers
    assert manifest.metrics["accuracy"] == published.metrics.accuracy
    assert manifest.lineage == {"dataset": "abc", "refit": True}


def test_five_classifiers_are_scored_on_the_same_rows(report: Report, split: Split) -> None:
    assert [entry.name for entry in report.entries] == ["teacher", "student", "seed_only", "no_generation", "tfidf"]
    assert report.labels == split.labels
    assert report.holdout_rows == len(split.holdout)
    assert report.holdout_source == "split"
    truth = np.bincount(split.targets(split.holdout), minlength=3)
    for entry in report.entries:
        matrix = np.array(entry.confusion_matrix)
        assert matrix.sum(1).tolist() == truth.tolist()
        assert entry.accuracy.value == pytest.approx(np.trace(matrix) / matrix.sum())
        assert entry.macro_f1.value == pytest.approx(np.mean(list(entry.per_class_f1.values())))
        assert set(entry.per_class_f1) == set(split.labels)
        for interval in (entry.accuracy, entry.macro_f1):
            assert 0 <= interval.low <= interval.value <= interval.high <= 1
        assert 0 <= entry.agreement <= 1
        assert entry.parameters > 0
        assert entry.bytes > 0
        assert 0 < entry.latency_ms < 10_000


def test_the_entries_are_the_artefacts_own(
    report: Report, published: StageResult[PublishMetrics], publish_inputs: PublishInputs, split: Split
) -> None:
    entries = {entry.name: entry for entry in report.entries}
    answers = logits_of(publish_inputs.teacher / Lineage.MEASURED, [row.text for row in split.holdout]).argmax(-1)
    assert entries["teacher"].accuracy.value == pytest.approx((answers == torch.tensor(split.targets(split.holdout))).float().mean().item())
    assert entries["teacher"].agreement == 1
    assert entries["student"].bytes == pytest.approx(published.metrics.bytes, rel=1e-3)
    assert entries["student"].agreement == published.metrics.agreement
    assert entries["student"].parameters == published.metrics.parameters
    assert entries["teacher"].accuracy.value == published.metrics.teacher_accuracy
    gain = entries["student"].accuracy.value - entries["no_generation"].accuracy.value
    assert report.generation_gain.value == pytest.approx(gain)
    assert report.generation_gain.low <= report.generation_gain.value <= report.generation_gain.high


def test_what_ships_is_the_published_student_and_what_is_scored_the_measured_one(
    report: Report, published: StageResult[PublishMetrics], publish_inputs: PublishInputs, split: Split
) -> None:
    tokenizer = Tokenizer.from_file(str(published.folder / TOKENIZER_FILE))
    ids = student_ids(tokenizer, [row.text for row in split.holdout], 32, 0)
    ships = onnx_logits(published.folder / ONNX_FILE, ids, 0)
    logits = {run: student_logits(load_student(publish_inputs.students, run)[0], ids, 0) for run in ("student", "published")}
    rounding = (ships - logits["published"]).abs().mean()
    assert rounding < 0.1 * (ships - logits["student"]).abs().mean()
    assert report.refit
    truth = torch.tensor(split.targets(split.holdout))
    scored = next(entry for entry in report.entries if entry.name == "student")
    assert scored.accuracy.value == pytest.approx((logits["student"].argmax(-1) == truth).float().mean().item())


def test_the_report_says_in_a_line_what_generation_did(report: Report, publish_inputs: PublishInputs) -> None:
    assert report.warnings == ["a quota was missed"]
    assert report.generated == publish_inputs.generated
    assert "\n" not in report.verdict
    assert f"{publish_inputs.generated['kept']} generated texts" in report.verdict
    assert f"{100 * report.generation_gain.value:+.1f} points" in report.verdict


@pytest.mark.parametrize(
    ("interval", "kept", "start"),
    [
        ((0.02, 0.01, 0.03), 40, "Generation helped: 40 generated texts changed the student by +2.0 points"),
        ((-0.02, -0.03, -0.01), 40, "Generation hurt: 40"),
        ((0.02, -0.01, 0.05), 5227, "Not decided on this holdout: 5,227"),
        ((0.0, 0.0, 0.0), 40, "Not decided"),
        ((0.0, 0.0, 0.0), 0, "No generated texts were used."),
    ],
)
def test_the_verdict_follows_the_interval(interval: tuple[float, float, float], kept: int, start: str) -> None:
    assert stage._verdict(*interval, kept).startswith(start)


def test_the_scores_are_those_of_the_measured_student_and_teacher(report: Report, publish_inputs: PublishInputs, split: Split) -> None:
    assert report.scores is not None
    truth = np.array(split.targets(split.holdout))
    ids = student_ids(Tokenizer.from_file(str(publish_inputs.students / TOKENIZER_FILE)), [row.text for row in split.holdout], 32, 0)
    logits = {
        "student": student_logits(load_student(publish_inputs.students, "student")[0], ids, 0),
        "teacher": logits_of(publish_inputs.teacher / Lineage.MEASURED, [row.text for row in split.holdout]),
    }
    for name, found in (("student", report.scores.student), ("teacher", report.scores.teacher)):
        numbers = logits[name].double().numpy()
        assert found.temperature == pytest.approx(fit(numbers, truth).temperature, rel=2e-2)
        assert found.before.brier == pytest.approx(brier_score(softmax(numbers, 1.0), truth), rel=5e-2)
        assert sum(part.rows for part in found.reliability) == len(truth)
        assert found.risk_coverage[-1].coverage == 1
        assert found.risk_coverage[-1].risk == pytest.approx(1 - next(e.accuracy.value for e in report.entries if e.name == name))


def test_what_serving_needs_of_the_scores_is_in_the_manifest(
    report: Report, published: StageResult[PublishMetrics], publish_inputs: PublishInputs
) -> None:
    manifest = StudentManifest.model_validate_json((published.folder / STUDENT_MANIFEST_FILE).read_bytes())
    assert report.scores is not None
    assert manifest.selective == report.scores.selective
    assert manifest.metrics["ece"] == published.metrics.ece == report.scores.student.after.ece
    assert list(manifest.scope_quantiles) == ["0.5", "0.9", "0.95", "0.99"]
    # The published student went on: its own temperature makes it as certain of texts that both know as the measured one is.
    assert manifest.temperature == report.scores.published_temperature != report.scores.student.temperature
    texts = [json.loads(line) for line in (publish_inputs.transfer / TRANSFER_FILE).read_text(encoding="utf-8").split("\n") if line]
    generated = [row["text"] for row in texts if row["part"] == Part.GENERATED]
    certainty = [
        softmax(run_logits(publish_inputs.students, run, generated).double().numpy(), temperature).max(1).mean()
        for run, temperature in (("student", report.scores.student.temperature), ("published", manifest.temperature))
    ]
    assert certainty[0] == pytest.approx(certainty[1], abs=1e-3)


def test_each_type_of_table_is_measured(published: StageResult[PublishMetrics]) -> None:
    manifest = StudentManifest.model_validate_json((published.folder / STUDENT_MANIFEST_FILE).read_bytes())
    found = manifest.precisions
    assert found["fp32"].bytes > found["fp16"].bytes > found["int8"].bytes
    assert manifest.bytes == pytest.approx(found[manifest.precision].bytes, rel=1e-3)
    for precision in ("fp32", "fp16"):  # the table holds what half precision holds
        assert (found[precision].agreement, found[precision].accuracy_difference) == (1, 0)
    assert found["int8"].max_abs_logit_difference > found["fp16"].max_abs_logit_difference


@pytest.mark.parametrize(("precision", "stored"), [("auto", onnx.TensorProto.UINT8), ("fp16", onnx.TensorProto.FLOAT16)])
def test_the_type_that_is_asked_for_ships(publish_inputs: PublishInputs, tmp_path: Path, precision: Any, stored: int) -> None:
    asked = replace(publish_inputs, spec=PublishSpec(precision=precision, int8_agreement=0.9, bootstrap_samples=100))
    publish(asked, tmp_path, MemoryRecorder())
    manifest = StudentManifest.model_validate_json((tmp_path / STUDENT_MANIFEST_FILE).read_bytes())
    table = next(tensor for tensor in onnx.load(tmp_path / ONNX_FILE).graph.initializer if tensor.name == TABLE)
    assert (manifest.precision, table.data_type) == ("fp16" if precision == "fp16" else "int8", stored)
    assert manifest.bytes == pytest.approx(manifest.precisions[manifest.precision].bytes, rel=1e-3)


@pytest.mark.parametrize(
    ("wanted", "accuracy", "agreement", "least", "expected"),
    [
        ("auto", 0.0, 0.995, 0.9, "int8"),
        ("auto", 0.01, 0.995, 0.9, "int8"),
        ("auto", -0.01, 0.995, 0.9, "fp16"),
        ("auto", 0.0, 0.85, 0.9, "fp16"),
        ("int8", -0.01, 0.995, 0.9, "int8"),
        ("fp16", 0.0, 1.0, 0.9, "fp16"),
    ],
)
def test_integers_ship_if_they_cost_nothing(
    publish_inputs: PublishInputs, split: Split, tmp_path: Path, wanted: Any, accuracy: float, agreement: float, least: float, expected: str
) -> None:
    entry = PrecisionEntry(bytes=1, accuracy_difference=accuracy, agreement=agreement, max_abs_logit_difference=0.1)
    texts = [row.text for row in split.holdout]
    assert shipped_precision(publish_inputs.students, "published", wanted, {"int8": entry}, texts, least, tmp_path) == expected
    assert not list(tmp_path.iterdir())


def test_integers_do_not_ship_if_the_published_student_answers_otherwise_in_them(
    publish_inputs: PublishInputs, split: Split, tmp_path: Path
) -> None:
    """One piece far larger than the others leaves these a few integers each."""
    shutil.copytree(publish_inputs.students, students := tmp_path / "students")
    weights = load_file(file := students / "published.safetensors")
    weights["embedding.table"][1] = 6e4
    save_file(weights, file)
    entry = PrecisionEntry(bytes=1, accuracy_difference=0.0, agreement=1.0, max_abs_logit_difference=0.1)
    texts = [row.text for row in split.holdout]
    assert shipped_precision(students, "published", "auto", {"int8": entry}, texts, 0.99, tmp_path) == "fp16"
    assert shipped_precision(students, "student", "auto", {"int8": entry}, texts, 0.9, tmp_path) == "int8"


def test_a_limit_in_bytes_is_kept_by_what_ships(
    publish_inputs: PublishInputs, published: StageResult[PublishMetrics], spec: JobSpec, new_folder: NewFolder
) -> None:
    limit = published.metrics.bytes - 5000
    students, out = new_folder("students"), new_folder("small")
    narrow = spec.distil.model_copy(update={"max_bytes": limit, "epochs": 1, "min_steps": 60})
    distil(DistilInputs(publish_inputs.split, publish_inputs.teacher, publish_inputs.transfer, narrow), students, MemoryRecorder())
    lenient = PublishSpec(int8_agreement=0.5, bootstrap_samples=100)
    metrics = publish(replace(publish_inputs, students=students, spec=lenient), out, MemoryRecorder())
    manifest = StudentManifest.model_validate_json((out / STUDENT_MANIFEST_FILE).read_bytes())
    assert manifest.precision == "int8"
    assert manifest.bytes == metrics.bytes <= limit


def test_progress_ends_with_the_rows(published: StageResult[PublishMetrics], split: Split) -> None:
    steps = [done for done, _ in published.recorder.steps]
    assert steps == sorted(steps)
    assert published.recorder.steps[-1] == (len(split.holdout), len(split.holdout))


def test_a_student_whose_export_differs_is_not_published(
    publish_inputs: PublishInputs, distilled: StageResult[DistilMetrics], tmp_path: Path
) -> None:
    """Logits of thousands: in single precision, onnxruntime and torch then differ by more than is allowed."""
    students = tmp_path / "students"
    shutil.copytree(distilled.folder, students)
    file = students / "published.safetensors"
    weights = load_file(file)
    save_file({name: tensor * 1e5 if name == "head.out.weight" else tensor for name, tensor in weights.items()}, file)
    out = tmp_path / "out"
    out.mkdir()
    strict = replace(publish_inputs, students=students, spec=PublishSpec(precision="fp16", parity_tolerance=1e-3, bootstrap_samples=100))
    with pytest.raises(ParityError, match="not published"):
        publish(strict, out, MemoryRecorder())
    assert not (out / STUDENT_MANIFEST_FILE).exists()
