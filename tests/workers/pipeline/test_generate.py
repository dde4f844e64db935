"""Stage 3: the quota, the verdicts and the balance."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from transformers import AutoTokenizer

from app.contracts.memorisation import Memorisation
from app.contracts.spec import GenerateSpec, JobSpec
from tests.workers.conftest import MemoryRecorder, StageResult
from workers.pipeline import generate as stage
from workers.pipeline.finetune_generator import GeneratorInputs, GeneratorMetrics, finetune_generator
from workers.pipeline.generate import TEXTS_FILE, GenerateInputs, GenerateMetrics, generate
from workers.training.filters import Verdict
from workers.training.recorder import StageStopped
from workers.training.shared_runs import SharedRuns
from workers.training.split import Split


def samples_in(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / TEXTS_FILE).read_text(encoding="utf-8").split("\n") if line]


def test_the_quota_of_kept_texts_is_reached_exactly(generated: StageResult[GenerateMetrics], spec: JobSpec) -> None:
    assert generated.metrics.quota == spec.generate.texts
    assert generated.metrics.verdicts["kept"] == spec.generate.texts
    assert generated.metrics.shortfall is None
    assert generated.recorder.steps[-1] == (spec.generate.texts, spec.generate.texts)


def test_the_counts_are_those_of_the_file(generated: StageResult[GenerateMetrics]) -> None:
    samples = samples_in(generated.folder)
    counted = Counter(sample["verdict"] for sample in samples)
    assert {verdict: counted[verdict] for verdict in Verdict} == generated.metrics.verdicts
    kept = Counter(sample["label"] for sample in samples if sample["verdict"] == "kept")
    assert kept == generated.metrics.kept_by_label


def test_kept_texts_are_new_distinct_and_balanced(generated: StageResult[GenerateMetrics], split: Split) -> None:
    kept = [sample["text"] for sample in samples_in(generated.folder) if sample["verdict"] == "kept"]
    assert len({text.casefold() for text in kept}) == len(kept)
    assert not set(kept) & {row.text for row in split.train + split.validation}
    assert all(text == text.strip() and "<|end|>" not in text and "Topic:" not in text for text in kept)
    counts = generated.metrics.kept_by_label.values()
    assert set(generated.metrics.kept_by_label) == set(split.labels)
    assert max(counts) - min(counts) <= 4  # the last batch may end at the quota


def run(split: Split, generator: Path, spec: JobSpec, out: Path, **changes: Any) -> GenerateMetrics:
    out.mkdir(exist_ok=True)
    inputs = GenerateInputs(split, generator, spec.generator, spec.generate.model_copy(update=changes))
    return generate(inputs, [], out, MemoryRecorder())


def test_a_seed_repeats_its_texts(split: Split, generator: StageResult[GeneratorMetrics], spec: JobSpec, tmp_path: Path) -> None:
    for name, seed in (("first", 5), ("again", 5), ("other", 6)):
        run(split, generator.folder, spec, tmp_path / name, seed=seed, texts=20)
    assert samples_in(tmp_path / "first") == samples_in(tmp_path / "again")
    assert samples_in(tmp_path / "first") != samples_in(tmp_path / "other")


def test_batches_draw_different_texts(split: Split, generator: StageResult[GeneratorMetrics], spec: JobSpec, tmp_path: Path) -> None:
    run(split, generator.folder, spec, tmp_path, texts=24, batch_size=6)
    samples = [sample["text"] for sample in samples_in(tmp_path)]
    assert len(set(samples)) > 0.8 * len(samples)


def test_a_smaller_quota_is_the_beginning_of_a_larger_one(
    split: Split, generator: StageResult[GeneratorMetrics], spec: JobSpec, tmp_path: Path
) -> None:
    """Else the quota would be filled by whichever texts end first, the short ones."""
    for name, texts in (("small", 20), ("large", 60)):
        run(split, generator.folder, spec, tmp_path / name, texts=texts, batch_size=16)
    small, large = samples_in(tmp_path / "small"), samples_in(tmp_path / "large")
    assert len(small) < len(large)
    assert small == large[: len(small)]


def test_without_a_number_the_quota_follows_from_the_seed_rows(
    split: Split, generator: StageResult[GeneratorMetrics], spec: JobSpec, tmp_path: Path
) -> None:
    tokenizer = AutoTokenizer.from_pretrained(generator.folder, local_files_only=True)
    rows = split.train + split.validation
    mean = sum(len(tokenizer(row.text).input_ids) + 1 for row in rows) / len(rows)
    metrics = run(split, generator.folder, spec, tmp_path, texts=None, tokens=round(12.5 * max(8, mean)), seed_token_cost=0.0)
    assert metrics.quota == metrics.verdicts["kept"] == 13


def told(recorder: MemoryRecorder) -> int:
    return sum(type == "sample" for type, _ in recorder.events)


def test_some_of_the_kept_texts_are_told_as_they_come(generated: StageResult[GenerateMetrics], spec: JobSpec) -> None:
    labels = [data["label"] for type, data in generated.recorder.events if type == "sample"]
    kept = [sample["label"] for sample in samples_in(generated.folder) if sample["verdict"] == "kept"]
    assert labels == kept  # all of so few
    assert generated.recorder.events[-1][0] == "sampled"


def test_of_many_texts_few_are_told(split: Split, generator: StageResult[GeneratorMetrics], spec: JobSpec, tmp_path: Path) -> None:
    recorder = MemoryRecorder()
    many = spec.generate.model_copy(update={"texts": 130})
    generate(GenerateInputs(split, generator.folder, spec.generator, many), [], tmp_path, recorder)
    assert told(recorder) == 60


def test_none_is_told_if_so_asked(
    split: Split, generated: StageResult[GenerateMetrics], spec: JobSpec, generator: StageResult[GeneratorMetrics], tmp_path: Path
) -> None:
    recorder = MemoryRecorder()
    generate(GenerateInputs(split, generator.folder, spec.generator, spec.generate, tell=False), [], tmp_path, recorder)
    assert told(recorder) == 0
    assert samples_in(tmp_path) == samples_in(generated.folder)  # nothing else depends on it


def test_what_came_near_a_row_is_counted(split: Split, generated: StageResult[GenerateMetrics]) -> None:
    found, verdicts = Memorisation.model_validate(generated.metrics.memorisation), generated.metrics.verdicts
    assert found.exact_copies + found.near_copies == verdicts["training_copy"]
    assert (found.generated, found.kept, found.shared_runs) == (sum(verdicts.values()), verdicts["kept"], 0)
    kept = [sample["text"] for sample in samples_in(generated.folder) if sample["verdict"] == "kept"]
    runs = SharedRuns(row.text for row in split.train + split.validation)
    assert found.longest_kept_run == max(map(runs.longest, kept)) > 1


def test_longer_runs_than_allowed_are_dropped(
    split: Split, generator: StageResult[GeneratorMetrics], spec: JobSpec, tmp_path: Path
) -> None:
    metrics = run(split, generator.folder, spec, tmp_path, texts=20, max_shared_words=1, max_attempts=20.0)
    assert metrics.verdicts["shared_run"] > 0
    assert metrics.memorisation["longest_kept_run"] <= 1
    assert metrics.memorisation["shared_runs"] == metrics.verdicts["shared_run"]


@pytest.mark.parametrize("of", [1, 7, 60, 200])
def test_the_shards_share_what_is_told(of: int) -> None:
    shares = [stage._shown(number, of) for number in range(1, of + 1)]
    assert sum(shares) == 60
    assert max(shares) - min(shares) <= 1
    for shown in set(shares):
        assert sum(stage._is_shown(kept, 100, shown) for kept in range(1, 101)) == shown


def test_a_text_is_told_as_a_database_takes_it() -> None:
    assert stage._as_event("a\0b") == "a\ufffdb"
    assert stage._as_event("x" * 501) == "x" * 500 + "…"
    assert stage._as_event("x" * 500) == "x" * 500


def test_a_missed_quota_says_why(split: Split, generator: StageResult[GeneratorMetrics], spec: JobSpec, tmp_path: Path) -> None:
    """Only the best piece at each step: every label has one text."""
    metrics = run(split, generator.folder, spec, tmp_path, texts=20, top_k=1, max_attempts=2.0)
    assert sum(metrics.verdicts.values()) == 40 == len(samples_in(tmp_path))
    assert metrics.verdicts["kept"] <= 3
    assert metrics.shortfall is not None
    assert metrics.shortfall.startswith(f"{metrics.verdicts['kept']} of 20 texts kept after 40 samples")
    for verdict, count in metrics.verdicts.items():
        assert (f"{count} {verdict}" in metrics.shortfall) == (count > 0 and verdict != "kept")
    assert "Raise spec.generate.max_attempts" in metrics.shortfall


def test_texts_that_never_end_are_runaway(split: Split, generator: StageResult[GeneratorMetrics], spec: JobSpec, tmp_path: Path) -> None:
    metrics = run(split, generator.folder, spec, tmp_path, texts=8, max_new_tokens=4, max_attempts=1.0, top_p=0.5)
    assert metrics.verdicts["runaway"] > 4


def test_no_texts_needs_no_generator(split: Split, spec: JobSpec, tmp_path: Path) -> None:
    metrics = run(split, tmp_path / "nowhere", spec, tmp_path, texts=0)
    assert metrics.verdicts == dict.fromkeys(Verdict, 0)
    assert metrics.kept_by_label == dict.fromkeys(split.labels, 0)
    assert metrics.shortfall is None
    assert samples_in(tmp_path) == []


def test_without_conditioning_no_label_was_asked_for(split: Split, spec: JobSpec, generator_model: Path, tmp_path: Path) -> None:
    free = spec.generator.model_copy(update={"conditioning": "none"})
    finetune_generator(GeneratorInputs(split, generator_model, free), tmp_path / "generator", MemoryRecorder())
    few = GenerateSpec(texts=10, max_new_tokens=40, near_duplicate=0.9, max_attempts=10)
    metrics = generate(GenerateInputs(split, tmp_path / "generator", free, few), [], tmp_path, MemoryRecorder())
    assert metrics.verdicts["kept"] == 10
    assert {sample["label"] for sample in samples_in(tmp_path)} == {None}


def test_it_stops_while_it_samples(split: Split, generator: StageResult[GeneratorMetrics], spec: JobSpec, tmp_path: Path) -> None:
    inputs = GenerateInputs(split, generator.folder, spec.generator, spec.generate)
    recorder = MemoryRecorder(stop=StageStopped(), stop_after=2)
    with pytest.raises(StageStopped):
        generate(inputs, [], tmp_path, recorder)
    assert recorder.steps == []
