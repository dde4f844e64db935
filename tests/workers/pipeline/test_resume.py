"""The long stages, stopped after any step and taken up by another call: nothing tells the result from that of a call that ran through."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.workers.conftest import MemoryRecorder, NewFolder, StageResult, Trainings
from workers.pipeline import finetune_generator as generator_stage
from workers.training.causal import load_generator
from workers.training.checkpointing import read_state
from workers.training.encoder import Teacher
from workers.training.recorder import StageStopped, State

Run = Callable[[Path, MemoryRecorder], Any]


@dataclass(frozen=True)
class Whole:
    """A stage, and what it makes when nothing stops it. `checks`: safe points, of which `before` are not steps but come first."""

    run: Run
    result: StageResult[Any]

    @property
    def before(self) -> int:
        return self.result.recorder.checks - len(self.result.recorder.steps)


STAGES = ["teacher", "teacher with all weights", "generator", "generator with adapters", "distil"]


@pytest.fixture(scope="module")
def stages(trainings: Trainings, new_folder: NewFolder) -> dict[str, Whole]:
    """Short ones. The generator reads one and a half passes. With adapters, it learns a few rows by heart, and goes back to an epoch
    before the last."""
    split, spec = trainings.split, trainings.spec
    taught: dict[str, Any] = {"epochs": 2, "refit_epochs": 2}
    free: dict[str, Any] = {**taught, "freeze_embeddings": False, "contrastive_weight": 0.0, "head_init": "random"}
    _, tokenizer = load_generator(trainings.models[1], torch.float32)
    tokens = sum(len(generator_stage._example(tokenizer, row, spec.generator).ids) for row in split.train)
    written: dict[str, Any] = {"epochs": 3, "max_train_tokens": int(1.5 * tokens)}
    few = replace(trainings, split=replace(split, train=split.train[:8]))
    adapted: dict[str, Any] = {"epochs": 40, "method": "lora", "learning_rate": 2e-2, "batch_size": 2, "max_train_tokens": 100_000}
    distilled: dict[str, Any] = {"epochs": 2, "refit_epochs": 2, "min_steps": 4, "batch_size": 128}
    runs: list[Run] = [
        partial(trainings.teacher, **taught),
        partial(trainings.teacher, **free),
        partial(trainings.generator, **written),
        partial(few.generator, **adapted),
        partial(trainings.distil, **distilled),
    ]
    made: dict[str, Whole] = {}
    for name, run in zip(STAGES, runs, strict=True):
        folder, recorder = new_folder(name), MemoryRecorder()
        made[name] = Whole(run, StageResult(folder, run(folder, recorder), recorder))
    assert made["generator"].result.metrics.epochs == pytest.approx(1.5, abs=0.1)
    return made


@dataclass(frozen=True)
class Continued:
    result: StageResult[Any]
    attempts: list[MemoryRecorder]


def continued(whole: Whole, folder: Path, stops: Iterable[int], every: int = 1) -> Continued:
    """Attempts that each stop after so many safe points, or run through; then one that nothing stops. Each has a folder of its own."""
    checkpoint, attempts = folder / "state", []
    for number, stop in enumerate([*stops, None]):
        (out := folder / str(number)).mkdir()
        attempts.append(MemoryRecorder(checkpoint=checkpoint, every=every))
        if stop is not None:
            attempts[-1].stop, attempts[-1].stop_after = StageStopped(), stop
        try:
            metrics = whole.run(out, attempts[-1])
            break
        except StageStopped:
            continue
    return Continued(StageResult(out, metrics, attempts[-1]), attempts)


def contents(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


def assert_same(found: StageResult[Any], whole: Whole) -> None:
    assert found.metrics == whole.result.metrics
    one, other = contents(found.folder), contents(whole.result.folder)
    assert one.keys() == other.keys()
    assert [name for name in one if one[name] != other[name]] == []


@pytest.mark.parametrize("share", [0.0, 0.55, 1.0])
@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_that_was_stopped_goes_on_as_if_it_never_had(stage: str, share: float, stages: dict[str, Whole], tmp_path: Path) -> None:
    """`share` of its safe points: with the first checkpoint, in the middle, at the very end."""
    whole = stages[stage]
    last = whole.result.recorder.checks - 1
    stop = max(whole.before if stage != "distil" else 2, round(share * last))
    found = continued(whole, tmp_path, [stop])
    assert_same(found.result, whole)
    first, second = found.attempts
    assert first.asked + second.asked == whole.result.recorder.asked  # every step was done once
    assert first.events + second.events == whole.result.recorder.events  # and every point told once


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_that_is_stopped_again_and_again_goes_on_too(stage: str, stages: dict[str, Whole], tmp_path: Path) -> None:
    whole = stages[stage]
    found = continued(whole, tmp_path, [max(4, whole.result.recorder.checks // 6)] * 20)
    assert_same(found.result, whole)
    assert len(found.attempts) > 3
    assert sum(attempt.asked for attempt in found.attempts) == whole.result.recorder.asked


@pytest.mark.parametrize("stage", STAGES)
def test_no_more_than_the_last_interval_is_done_twice(stage: str, stages: dict[str, Whole], tmp_path: Path) -> None:
    whole, every = stages[stage], 5
    stop = round(0.8 * whole.result.recorder.checks)
    found = continued(whole, tmp_path, [stop], every)
    assert_same(found.result, whole)
    first, second = found.attempts
    assert first.asked > 2 * every
    assert first.asked + second.asked - whole.result.recorder.asked == first.asked % every


@pytest.mark.parametrize("after", [-1, 0, 1])
def test_a_teacher_goes_on_around_the_end_of_its_first_lineage(after: int, stages: dict[str, Whole], tmp_path: Path) -> None:
    """Stopped at the last step of the first lineage, at the first step of the second, and at the one after it."""
    whole = stages["teacher"]
    steps = [done for done, _ in whole.result.recorder.steps]
    found = continued(whole, tmp_path, [whole.before + steps.index(2) + 1 + after])
    assert_same(found.result, whole)
    assert found.result.recorder.steps[0][0] == found.attempts[0].steps[-1][0]  # how far it is, is told at once


def test_a_generator_goes_back_to_an_epoch_of_an_earlier_attempt(stages: dict[str, Whole], tmp_path: Path) -> None:
    whole = stages["generator with adapters"]
    metrics, recorder = whole.result.metrics, whole.result.recorder
    assert metrics.kept_epoch == metrics.epochs - 1  # so it has to
    found = continued(whole, tmp_path, [recorder.checks - 1])
    assert [data["step"] for _, data in found.result.recorder.events] == [metrics.epochs]  # all but the perplexity was told before
    assert_same(found.result, whole)


@pytest.mark.parametrize("spoiled", ["torn", "of another stage"])
@pytest.mark.parametrize("stage", ["teacher", "generator", "distil"])
def test_a_state_of_another_kind_or_a_torn_one_is_not_used(stage: str, spoiled: str, stages: dict[str, Whole], tmp_path: Path) -> None:
    whole, checkpoint = stages[stage], tmp_path / "state"
    state = stopped(whole, tmp_path, 9)
    if spoiled == "torn":
        checkpoint.write_bytes(checkpoint.read_bytes()[:-100])
    else:
        torch.save({**state, "format": "another/1"}, checkpoint)
    found = continued(whole, tmp_path, [])
    assert_same(found.result, whole)
    assert found.result.recorder.asked == whole.result.recorder.asked


@pytest.mark.parametrize(
    ("stage", "frozen"),
    [("teacher", "embeddings.word_embeddings"), ("teacher with all weights", "nothing"), ("generator with adapters", "base_layer")],
)
def test_frozen_weights_are_not_in_the_state(stage: str, frozen: str, stages: dict[str, Whole], tmp_path: Path) -> None:
    state = stopped(stages[stage], tmp_path, 9)["training"]
    names = state.get("training", state)["weights"]  # the teacher's is one of several lineages
    assert names
    assert not [name for name in names if frozen in name]
    assert any("word_embeddings" in name for name in names) == (stage == "teacher with all weights")
    assert all("lora_" in name for name in names) == (stage == "generator with adapters")


def test_a_probe_is_not_read_again(stages: dict[str, Whole], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stopped(stages["teacher"], tmp_path, 9)
    training: list[bool] = []
    pooled = Teacher.pooled
    monkeypatch.setattr(Teacher, "pooled", lambda self, ids, mask: training.append(self.training) or pooled(self, ids, mask))
    continued(stages["teacher"], tmp_path, [])
    assert training
    assert all(training)


def stopped(whole: Whole, folder: Path, after: int) -> State:
    """The state, in `folder`, of an attempt that was stopped."""
    recorder = MemoryRecorder(stop=StageStopped(), stop_after=after, checkpoint=folder / "state")
    (out := folder / "stopped").mkdir()
    with pytest.raises(StageStopped):
        whole.run(out, recorder)
    state = read_state(folder / "state")
    assert state is not None
    return state
