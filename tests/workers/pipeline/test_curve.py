"""The curve: what students make of the first so many generated texts, through the three stages that know of it."""

import re
from dataclasses import replace
from pathlib import Path

import pytest

from app.contracts.comparison import ANSWERS_FILE
from app.contracts.report import Report
from app.contracts.spec import JobSpec
from app.contracts.students import ONNX_FILE, REPORT_FILE, STUDENT_MANIFEST_FILE, TOKENIZER_FILE
from tests.workers.conftest import MemoryRecorder, NewFolder, StageResult
from workers.pipeline.distil import DistilInputs, DistilMetrics, distil
from workers.pipeline.finetune_teacher import TeacherMetrics
from workers.pipeline.generate import TEXTS_FILE, GenerateMetrics
from workers.pipeline.label import LabelInputs, label
from workers.pipeline.publish import PublishInputs, publish
from workers.training.encoder import load_tokenizer, vocabulary_words
from workers.training.split import Lineage, Split
from workers.training.transfer import Part, read_transfer

POINTS = [10, 25]


@pytest.fixture(scope="module")
def labelled_in_steps(
    new_folder: NewFolder, split: Split, spec: JobSpec, teacher: StageResult[TeacherMetrics], generated: StageResult[GenerateMetrics]
) -> Path:
    """The 40 kept texts; the numbers in any order, one twice, and one that there are not enough texts for."""
    folder = new_folder("labelled")
    steps = spec.label.model_copy(update={"curve": (25, 10, 10, 1000)})
    label(LabelInputs(split, teacher.folder, generated.folder / TEXTS_FILE, spec.teacher, steps), [], folder, MemoryRecorder())
    return folder


@pytest.fixture(scope="module")
def distilled_in_steps(
    new_folder: NewFolder, split: Split, spec: JobSpec, teacher: StageResult[TeacherMetrics], labelled_in_steps: Path
) -> StageResult[DistilMetrics]:
    folder, recorder = new_folder("distilled"), MemoryRecorder()
    return StageResult(folder, distil(DistilInputs(split, teacher.folder, labelled_in_steps, spec.distil), folder, recorder), recorder)


def words(texts: list[str]) -> set[str]:
    return {word for text in texts for word in re.findall(r"[^\W\d_]+", text)}


def test_each_step_is_made_of_its_own_texts_alone(labelled_in_steps: Path, split: Split, teacher: StageResult[TeacherMetrics]) -> None:
    parts = read_transfer(labelled_in_steps, split.labels, Lineage.MEASURED)
    seeds, generated, recombined = (parts[part] for part in (Part.SEED, Part.GENERATED, Part.RECOMBINED))
    assert generated.within == [10] * 10 + [25] * 15 + [40] * 15
    assert set(seeds.within) == set(parts[Part.RECOMBINED_SEED].within) == {0}
    exchanged = set(vocabulary_words(load_tokenizer(teacher.folder / Lineage.MEASURED), seeds.texts))
    for step in POINTS:
        sources = words(seeds.texts + generated.texts[:step]) | exchanged
        made = [text for text, within in zip(recombined.texts, recombined.within, strict=True) if within <= step]
        assert len(made) == 5 * step
        assert words(made) <= sources


def test_a_student_is_distilled_for_each_step(
    distilled_in_steps: StageResult[DistilMetrics], distilled: StageResult[DistilMetrics]
) -> None:
    sizes = distilled_in_steps.metrics.texts
    own = sizes["no_generation"]
    assert {run: sizes[run] - own for run in ("first_10", "first_25", "student")} == {"first_10": 60, "first_25": 150, "student": 240}
    assert {run: size for run, size in sizes.items() if not run.startswith("first_")} == distilled.metrics.texts
    told = sum(type == "metric" for type, _ in distilled_in_steps.recorder.events)
    assert distilled_in_steps.recorder.steps[-1] == (told, told)


def test_the_report_goes_from_no_text_to_all(
    distilled_in_steps: StageResult[DistilMetrics], publish_inputs: PublishInputs, tmp_path: Path
) -> None:
    recorder = MemoryRecorder()
    publish(replace(publish_inputs, students=distilled_in_steps.folder), tmp_path, recorder)
    report = Report.model_validate_json((tmp_path / REPORT_FILE).read_bytes())
    assert [point.texts for point in report.curve] == [0, *POINTS, 40]
    scores = {entry.name: entry for entry in report.entries}
    for point, name in ((report.curve[0], "no_generation"), (report.curve[-1], "student")):
        assert (point.accuracy, point.macro_f1) == (scores[name].accuracy, scores[name].macro_f1)
    assert all(0.5 < point.accuracy.value <= 1 for point in report.curve)
    assert {file.name for file in tmp_path.iterdir()} == {ONNX_FILE, TOKENIZER_FILE, STUDENT_MANIFEST_FILE, REPORT_FILE, ANSWERS_FILE}
    steps = [done for done, _ in recorder.steps]
    assert steps == sorted(steps)
    assert recorder.steps[-1] == (report.holdout_rows, report.holdout_rows)


def test_no_curve_is_told_that_was_not_asked_for(publish_inputs: PublishInputs, tmp_path: Path) -> None:
    publish(publish_inputs, tmp_path, MemoryRecorder())
    assert Report.model_validate_json((tmp_path / REPORT_FILE).read_bytes()).curve == []
