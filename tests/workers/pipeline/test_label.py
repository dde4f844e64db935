"""Stage 4: the transfer set holds the teacher's own logits, and nothing of the holdout."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from app.contracts.spec import JobSpec
from tests.workers.conftest import ODD_TEXT, MemoryRecorder, StageResult
from tests.workers.pipeline.test_finetune_teacher import logits_of
from workers.pipeline.finetune_teacher import TeacherMetrics
from workers.pipeline.generate import TEXTS_FILE, GenerateMetrics
from workers.pipeline.label import SYNTHETIC_FILE, LabelInputs, LabelMetrics, label
from workers.training.split import Split
from workers.training.transfer import LOGITS_FILE, TRANSFER_FILE, read_transfer


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n") if line]


def test_the_logits_are_the_teachers(labelled: StageResult[LabelMetrics], teacher: StageResult[TeacherMetrics]) -> None:
    rows = lines(labelled.folder / TRANSFER_FILE)
    logits = load_file(labelled.folder / LOGITS_FILE)["logits"]
    assert logits.shape == (len(rows), 3)
    assert torch.allclose(logits, logits_of(teacher.folder, [row["text"] for row in rows]), atol=1e-5)


def test_the_parts_are_the_splits_and_the_kept_texts(
    labelled: StageResult[LabelMetrics], generated: StageResult[GenerateMetrics], split: Split
) -> None:
    parts = read_transfer(labelled.folder, split.labels)
    kept = [sample["text"] for sample in lines(generated.folder / TEXTS_FILE) if sample["verdict"] == "kept"]
    assert parts["train"].texts == [row.text for row in split.train]
    assert parts["validation"].texts == [row.text for row in split.validation]
    assert parts["generated"].texts == kept
    assert parts["train"].hard.tolist() == split.targets(split.train)
    assert parts["generated"].hard.tolist() == parts["generated"].logits.argmax(-1).tolist()
    assert labelled.metrics.seed_texts == len(split.train) + len(split.validation)
    assert labelled.metrics.generated_texts == len(kept)
    assert labelled.recorder.steps[-1] == (len(kept) + labelled.metrics.seed_texts,) * 2


def test_no_row_of_the_holdout_is_in_it(labelled: StageResult[LabelMetrics], split: Split) -> None:
    held = {row.text for row in split.holdout}
    written = lines(labelled.folder / TRANSFER_FILE)
    seeds = {row["text"] for row in written if row["part"] != "generated"}
    assert len(held) > 10
    assert not held & seeds


def test_characters_that_end_a_line_elsewhere_survive(labelled: StageResult[LabelMetrics], split: Split) -> None:
    assert ODD_TEXT in read_transfer(labelled.folder, split.labels)["train"].texts


def test_every_sample_is_listed_with_its_probabilities(
    labelled: StageResult[LabelMetrics], generated: StageResult[GenerateMetrics], split: Split
) -> None:
    samples, listed = lines(generated.folder / TEXTS_FILE), lines(labelled.folder / SYNTHETIC_FILE)
    assert [{key: entry[key] for key in ("text", "label", "verdict")} for entry in listed] == samples
    part = read_transfer(labelled.folder, split.labels)["generated"]
    probabilities = iter(part.logits.softmax(-1).tolist())
    agreed = []
    for entry in listed:
        if entry["verdict"] != "kept":
            assert entry["probabilities"] is None
            continue
        wanted = dict(zip(split.labels, next(probabilities), strict=True))
        assert entry["probabilities"] == pytest.approx(wanted, abs=1e-4)
        assert list(entry["probabilities"].values()) == sorted(entry["probabilities"].values(), reverse=True)
        agreed.append(max(wanted, key=wanted.__getitem__) == entry["label"])
    assert labelled.metrics.agreement == pytest.approx(sum(agreed) / len(agreed))
    assert labelled.metrics.agreement > 0.4  # the generator learned the labels; chance is a third


@pytest.mark.parametrize("samples", [[], [{"text": "spread the euro\u2028today", "label": None, "verdict": "kept"}]])
def test_texts_without_an_asked_label(
    samples: list[dict[str, Any]], split: Split, teacher: StageResult[TeacherMetrics], spec: JobSpec, tmp_path: Path
) -> None:
    texts = tmp_path / TEXTS_FILE
    texts.write_text("".join(json.dumps(sample, ensure_ascii=False) + "\n" for sample in samples), encoding="utf-8")
    metrics = label(LabelInputs(split, teacher.folder, texts, spec.teacher, spec.label), tmp_path, MemoryRecorder())
    assert metrics.agreement is None
    assert metrics.generated_texts == len(samples)
    assert read_transfer(tmp_path, split.labels)["generated"].texts == [sample["text"] for sample in samples]
    assert len(lines(tmp_path / SYNTHETIC_FILE)) == len(samples)
