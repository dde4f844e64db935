"""Stage 4: the transfer set holds each teacher's own logits, and the holdout only where its teacher has learned from it."""

import json
import re
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
from workers.training.encoder import encode, load_tokenizer, vocabulary_words
from workers.training.split import Lineage, Split
from workers.training.transfer import LOGITS_FILE, RECOMBINED_PARTS, TRANSFER_FILE, Part, read_transfer


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n") if line]


def test_the_logits_are_each_teachers_but_for_recombinations(
    labelled: StageResult[LabelMetrics], teacher: StageResult[TeacherMetrics], split: Split
) -> None:
    rows, logits = lines(labelled.folder / TRANSFER_FILE), load_file(labelled.folder / LOGITS_FILE)
    assert set(logits) == {"measured", "published"}
    assert logits["measured"].shape == (len(rows) - len(split.holdout), 3)
    assert logits["published"].shape == (len(rows), 3)
    texts = [row["text"] for row in rows]
    own = {lineage: logits_of(teacher.folder / lineage, texts) for lineage in logits}
    recombined = torch.tensor([row["part"] in RECOMBINED_PARTS for row in rows])
    assert torch.allclose(logits["measured"], own["measured"][: len(logits["measured"])], atol=1e-5)
    assert torch.allclose(logits["published"][~recombined], own["published"][~recombined], atol=1e-5)
    assert torch.equal(logits["published"][recombined], logits["measured"][recombined[: len(logits["measured"])]])
    assert not torch.allclose(own["measured"], own["published"], atol=0.1)


def test_the_parts_are_the_seed_rows_the_kept_texts_and_recombinations(
    labelled: StageResult[LabelMetrics], generated: StageResult[GenerateMetrics], split: Split, spec: JobSpec
) -> None:
    parts = read_transfer(labelled.folder, split.labels, Lineage.MEASURED)
    kept = [sample["text"] for sample in lines(generated.folder / TEXTS_FILE) if sample["verdict"] == "kept"]
    seeds = split.train + split.validation
    assert parts[Part.SEED].texts == [row.text for row in seeds]
    assert parts[Part.SEED].hard.tolist() == split.targets(seeds)
    assert parts[Part.GENERATED].texts == kept
    assert len(parts[Part.RECOMBINED_SEED].texts) == spec.label.recombined * len(seeds)
    assert len(parts[Part.RECOMBINED].texts) == spec.label.recombined * len(kept)
    for part in (Part.GENERATED, Part.RECOMBINED_SEED, Part.RECOMBINED):  # nobody labelled these
        assert parts[part].hard.tolist() == parts[part].logits.argmax(-1).tolist()
    assert labelled.metrics.seed_texts == len(seeds)
    assert labelled.metrics.generated_texts == len(kept)
    assert labelled.metrics.recombined_texts == spec.label.recombined * (len(seeds) + len(kept))


def _words(texts: list[str]) -> set[str]:
    return {word for text in texts for word in re.findall(r"[^\W\d_]+", text)}


def test_what_is_made_without_generation_holds_no_word_of_a_generated_text(
    labelled: StageResult[LabelMetrics], teacher: StageResult[TeacherMetrics], split: Split
) -> None:
    parts = read_transfer(labelled.folder, split.labels, Lineage.MEASURED)
    own = _words(parts[Part.SEED].texts)
    exchanged = set(vocabulary_words(load_tokenizer(teacher.folder / Lineage.MEASURED), parts[Part.SEED].texts))
    assert _words(parts[Part.RECOMBINED_SEED].texts) <= own | exchanged
    assert exchanged - own & _words(parts[Part.RECOMBINED_SEED].texts)
    assert not _words(parts[Part.RECOMBINED].texts) <= own | exchanged


def test_it_counts_every_text_that_a_teacher_reads(labelled: StageResult[LabelMetrics], split: Split) -> None:
    metrics = labelled.metrics
    total = 2 * (metrics.seed_texts + metrics.generated_texts) + metrics.recombined_texts + len(split.holdout)
    steps = [done for done, _ in labelled.recorder.steps]
    assert steps == sorted(steps)
    assert labelled.recorder.steps[-1] == (total, total)


def test_only_the_published_lineage_reads_the_holdout(labelled: StageResult[LabelMetrics], split: Split) -> None:
    held = {row.text for row in split.holdout}
    measured, published = (read_transfer(labelled.folder, split.labels, lineage) for lineage in split.lineages)
    assert len(held) > 10
    assert measured[Part.HOLDOUT].texts == []
    assert measured[Part.HOLDOUT].logits.shape == (0, 3)
    assert not held & {text for part in measured.values() for text in part.texts}
    assert published[Part.HOLDOUT].texts == [row.text for row in split.holdout]
    assert published[Part.HOLDOUT].hard.tolist() == split.targets(split.holdout)
    assert not held & {text for part, texts in published.items() if part != Part.HOLDOUT for text in texts.texts}


@pytest.mark.parametrize("budget", [0, 300, 900])
def test_recombinations_stay_within_their_tokens(
    budget: int, split: Split, teacher: StageResult[TeacherMetrics], spec: JobSpec, tmp_path: Path
) -> None:
    (tmp_path / TEXTS_FILE).write_text("", encoding="utf-8")
    own = spec.label.model_copy(update={"recombined": 5.0, "recombined_tokens": budget})
    metrics = label(LabelInputs(split, teacher.folder, tmp_path / TEXTS_FILE, spec.teacher, own), [], tmp_path, MemoryRecorder())
    found = read_transfer(tmp_path, split.labels, Lineage.MEASURED)[Part.RECOMBINED_SEED].texts
    tokens = sum(map(len, encode(load_tokenizer(teacher.folder / Lineage.MEASURED), found, 64))) if found else 0
    assert 0.6 * budget <= tokens <= 1.1 * budget
    assert metrics.recombined_texts == len(found)


def test_characters_that_end_a_line_elsewhere_survive(labelled: StageResult[LabelMetrics], split: Split) -> None:
    assert ODD_TEXT in read_transfer(labelled.folder, split.labels, Lineage.MEASURED)[Part.SEED].texts


def test_every_sample_is_listed_with_the_measured_teachers_probabilities(
    labelled: StageResult[LabelMetrics], generated: StageResult[GenerateMetrics], split: Split
) -> None:
    samples, listed = lines(generated.folder / TEXTS_FILE), lines(labelled.folder / SYNTHETIC_FILE)
    assert [{key: entry[key] for key in ("text", "label", "verdict")} for entry in listed] == samples
    part = read_transfer(labelled.folder, split.labels, Lineage.MEASURED)[Part.GENERATED]
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


@pytest.mark.parametrize("recombined", [0.0, 1.5])
@pytest.mark.parametrize("samples", [[], [{"text": "spread the euro\u2028today", "label": None, "verdict": "kept"}]])
def test_texts_without_an_asked_label(
    samples: list[dict[str, Any]], recombined: float, split: Split, teacher: StageResult[TeacherMetrics], spec: JobSpec, tmp_path: Path
) -> None:
    texts = tmp_path / TEXTS_FILE
    texts.write_text("".join(json.dumps(sample, ensure_ascii=False) + "\n" for sample in samples), encoding="utf-8")
    own = spec.label.model_copy(update={"recombined": recombined})
    metrics = label(LabelInputs(split, teacher.folder, texts, spec.teacher, own), [], tmp_path, MemoryRecorder())
    assert metrics.agreement is None
    assert metrics.generated_texts == len(samples)
    assert metrics.recombined_texts == round(recombined * metrics.seed_texts) + round(recombined * len(samples))
    found = read_transfer(tmp_path, split.labels, Lineage.MEASURED)
    assert found[Part.GENERATED].texts == [sample["text"] for sample in samples]
    assert {part.hard.dtype for part in found.values()} == {torch.int64}  # also of parts without a text
    assert len(lines(tmp_path / SYNTHETIC_FILE)) == len(samples)


def _without(
    numbers: tuple[int, ...],
    split: Split,
    spec: JobSpec,
    teacher: StageResult[TeacherMetrics],
    generated: StageResult[GenerateMetrics],
    out: Path,
) -> LabelMetrics:
    own = spec.label.model_copy(update={"rejected": numbers})
    return label(LabelInputs(split, teacher.folder, generated.folder / TEXTS_FILE, spec.teacher, own), [], out, MemoryRecorder())


def test_rejected_texts_are_nowhere_in_the_transfer_set(
    labelled: StageResult[LabelMetrics],
    generated: StageResult[GenerateMetrics],
    teacher: StageResult[TeacherMetrics],
    split: Split,
    spec: JobSpec,
    tmp_path: Path,
) -> None:
    samples = lines(generated.folder / TEXTS_FILE)
    kept = [number for number, sample in enumerate(samples, 1) if sample["verdict"] == "kept"]
    dropped = [number for number, sample in enumerate(samples, 1) if sample["verdict"] != "kept"][:1]
    rejected = kept[:30]
    metrics = _without(tuple(sorted(rejected + dropped)), split, spec, teacher, generated, tmp_path)
    assert (metrics.rejected_texts, metrics.generated_texts) == (30, len(kept) - 30)
    assert labelled.metrics.rejected_texts == 0

    parts = read_transfer(tmp_path, split.labels, Lineage.MEASURED)
    assert parts[Part.GENERATED].texts == [samples[number - 1]["text"] for number in kept[30:]]
    seeds = [row.text for row in split.seed_rows(Lineage.MEASURED)]
    exchanged = set(vocabulary_words(load_tokenizer(teacher.folder / Lineage.MEASURED), seeds))
    left = _words(parts[Part.SEED].texts) | _words(parts[Part.GENERATED].texts) | exchanged
    alone = _words([samples[number - 1]["text"] for number in rejected]) - left
    assert alone  # words that only rejected texts hold
    assert not alone & {word for part in parts.values() for word in _words(part.texts)}

    listed = lines(tmp_path / SYNTHETIC_FILE)
    assert [entry["text"] for entry in listed] == [sample["text"] for sample in samples]  # under the same numbers
    for number, (entry, sample) in enumerate(zip(listed, samples, strict=True), 1):
        assert entry["verdict"] == ("rejected" if number in rejected else sample["verdict"])
        assert (entry["probabilities"] is not None) == (entry["verdict"] == "kept")


def test_a_rejected_text_that_there_is_not_is_an_error(
    split: Split, spec: JobSpec, teacher: StageResult[TeacherMetrics], generated: StageResult[GenerateMetrics], tmp_path: Path
) -> None:
    beyond = len(lines(generated.folder / TEXTS_FILE)) + 1
    with pytest.raises(ValueError, match=rf"label\.rejected names the text {beyond}, of {beyond - 1}"):
        _without((1, beyond), split, spec, teacher, generated, tmp_path)
