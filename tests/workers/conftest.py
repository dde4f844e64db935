"""One tiny job, each of its stages run once for all tests; they only read what it made."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, Generic, TypeVar

import pytest
import torch

from app.config import Settings
from app.contracts.rows import Row
from app.contracts.spec import JobSpec
from tests.workers import jobs
from tests.workers.tiny import make_rows, save_encoder, save_llama, tiny_spec
from workers.pipeline.distil import DistilInputs, DistilMetrics, distil
from workers.pipeline.finetune_generator import GeneratorInputs, GeneratorMetrics, finetune_generator
from workers.pipeline.finetune_teacher import TeacherInputs, TeacherMetrics, finetune_teacher
from workers.pipeline.generate import TEXTS_FILE, GenerateInputs, GenerateMetrics, generate
from workers.pipeline.label import LabelInputs, LabelMetrics, label
from workers.pipeline.publish import PublishInputs, PublishMetrics, publish
from workers.stopping import shutting_down
from workers.training.checkpointing import read_state, write_state
from workers.training.recorder import State
from workers.training.split import Split, split_rows

Metrics = TypeVar("Metrics")
ODD_TEXT = "my card\u2028and envelope\u2029still\x85in the post"
"""Holds what str.splitlines, unlike a reader of JSON lines, takes for the end of a line."""


@dataclass
class MemoryRecorder:
    """Keeps what a stage tells; stops it, by raising `stop`, at the first safe point after `stop_after` of them.

    `checkpoint`: the file of the stage's state, which is saved each `every`th time that the stage asks whether to.
    """

    steps: list[tuple[float, float]] = field(default_factory=list)
    events: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    stop: Exception | None = None
    stop_after: int = 0
    checks: int = 0
    checkpoint: Path | None = None
    every: int = 1
    asked: int = 0

    def progress(self, done: float, total: float) -> None:
        self.steps.append((done, total))
        self.check()

    def event(self, type: str, message: str, **data: Any) -> None:
        self.events.append((type, data))

    def check(self) -> None:
        self.checks += 1
        if self.stop is not None and self.checks > self.stop_after:
            raise self.stop

    def load_checkpoint(self) -> State | None:
        return read_state(self.checkpoint) if self.checkpoint else None

    def checkpoint_due(self) -> bool:
        self.asked += 1
        return self.checkpoint is not None and self.asked % self.every == 0

    def save_checkpoint(self, state: State) -> None:
        assert self.checkpoint is not None
        write_state(state, self.checkpoint)


@dataclass(frozen=True)
class StageResult(Generic[Metrics]):
    folder: Path
    metrics: Metrics
    recorder: MemoryRecorder


NewFolder = Callable[[str], Path]
Submit = Callable[..., str]


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> None:
    """Models this small gain nothing from threads, which on a shared machine wait for each other; sums come out the same everywhere."""
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def new_folder(tmp_path_factory: pytest.TempPathFactory) -> NewFolder:
    return tmp_path_factory.mktemp


@pytest.fixture(scope="session")
def teacher_model(new_folder: NewFolder) -> Path:
    return save_encoder(new_folder("encoder"))


@pytest.fixture(scope="session")
def generator_model(new_folder: NewFolder) -> Path:
    return save_llama(new_folder("llama"))


@pytest.fixture
def submit(service_env: Settings, teacher_model: Path, generator_model: Path) -> Submit:
    """Creates a job of tiny models; `overrides` of its spec by part. Its id."""
    return partial(jobs.submit, service_env, teacher_model, generator_model)


@pytest.fixture
def in_this_process(service_env: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A worker that runs stages here, beats fast, and tries again at once."""
    monkeypatch.setattr(service_env.worker, "heartbeat_seconds", 0.05)
    monkeypatch.setattr(service_env.worker, "retry_seconds", 0.0)
    monkeypatch.setattr(service_env.worker, "isolate", False)
    yield
    shutting_down.clear()


@pytest.fixture(scope="session")
def spec(teacher_model: Path, generator_model: Path) -> JobSpec:
    return tiny_spec(teacher_model, generator_model)


@pytest.fixture(scope="session")
def split(spec: JobSpec) -> Split:
    """30 rows a label, with both lineages; one training row holds characters that other readers take for the end of a line."""
    whole = split_rows(make_rows(30), [], spec.split)
    return replace(whole, train=[*whole.train, Row(ODD_TEXT, "card_arrival")])


@pytest.fixture(scope="session")
def teacher(new_folder: NewFolder, split: Split, spec: JobSpec, teacher_model: Path) -> StageResult[TeacherMetrics]:
    folder, recorder = new_folder("teacher"), MemoryRecorder()
    return StageResult(folder, finetune_teacher(TeacherInputs(split, teacher_model, spec.teacher), folder, recorder), recorder)


@pytest.fixture(scope="session")
def generator(new_folder: NewFolder, split: Split, spec: JobSpec, generator_model: Path) -> StageResult[GeneratorMetrics]:
    folder, recorder = new_folder("generator"), MemoryRecorder()
    return StageResult(folder, finetune_generator(GeneratorInputs(split, generator_model, spec.generator), folder, recorder), recorder)


@pytest.fixture(scope="session")
def generated(new_folder: NewFolder, split: Split, spec: JobSpec, generator: StageResult[GeneratorMetrics]) -> StageResult[GenerateMetrics]:
    folder, recorder = new_folder("generated"), MemoryRecorder()
    inputs = GenerateInputs(split, generator.folder, spec.generator, spec.generate)
    return StageResult(folder, generate(inputs, [], folder, recorder), recorder)


@pytest.fixture(scope="session")
def labelled(
    new_folder: NewFolder,
    split: Split,
    spec: JobSpec,
    teacher: StageResult[TeacherMetrics],
    generated: StageResult[GenerateMetrics],
) -> StageResult[LabelMetrics]:
    folder, recorder = new_folder("labelled"), MemoryRecorder()
    inputs = LabelInputs(split, teacher.folder, generated.folder / TEXTS_FILE, spec.teacher, spec.label)
    return StageResult(folder, label(inputs, [], folder, recorder), recorder)


@pytest.fixture(scope="session")
def distilled(
    new_folder: NewFolder, split: Split, spec: JobSpec, teacher: StageResult[TeacherMetrics], labelled: StageResult[LabelMetrics]
) -> StageResult[DistilMetrics]:
    folder, recorder = new_folder("distilled"), MemoryRecorder()
    inputs = DistilInputs(split, teacher.folder, labelled.folder, spec.distil)
    return StageResult(folder, distil(inputs, folder, recorder), recorder)


@dataclass(frozen=True)
class Trainings:
    """The stages that train, on the tiny job, with changes to its spec; `shrink`: parts in which a batch is read."""

    split: Split
    spec: JobSpec
    models: tuple[Path, Path]
    teacher_folder: Path
    transfer: Path

    def teacher(self, out: Path, recorder: MemoryRecorder, shrink: int = 1, **changes: Any) -> TeacherMetrics:
        changed = self.spec.teacher.model_copy(update=changes)
        return finetune_teacher(TeacherInputs(self.split, self.models[0], changed, shrink), out, recorder)

    def generator(self, out: Path, recorder: MemoryRecorder, shrink: int = 1, **changes: Any) -> GeneratorMetrics:
        changed = self.spec.generator.model_copy(update=changes)
        return finetune_generator(GeneratorInputs(self.split, self.models[1], changed, shrink), out, recorder)

    def distil(self, out: Path, recorder: MemoryRecorder, shrink: int = 1, **changes: Any) -> DistilMetrics:
        changed = self.spec.distil.model_copy(update=changes)
        return distil(DistilInputs(self.split, self.teacher_folder, self.transfer, changed, shrink), out, recorder)


@pytest.fixture(scope="session")
def trainings(
    split: Split,
    spec: JobSpec,
    teacher_model: Path,
    generator_model: Path,
    teacher: StageResult[TeacherMetrics],
    labelled: StageResult[LabelMetrics],
) -> Trainings:
    return Trainings(split, spec, (teacher_model, generator_model), teacher.folder, labelled.folder)


@pytest.fixture(scope="session")
def publish_inputs(
    split: Split,
    spec: JobSpec,
    teacher: StageResult[TeacherMetrics],
    generated: StageResult[GenerateMetrics],
    labelled: StageResult[LabelMetrics],
    distilled: StageResult[DistilMetrics],
) -> PublishInputs:
    return PublishInputs(
        split=split,
        holdout_source="split",
        teacher=teacher.folder,
        students=distilled.folder,
        transfer=labelled.folder,
        teacher_spec=spec.teacher,
        spec=spec.publish,
        generated=generated.metrics.verdicts,
        warnings=["a quota was missed"],
        lineage={"dataset": "abc"},
    )


@pytest.fixture(scope="session")
def published(new_folder: NewFolder, publish_inputs: PublishInputs) -> StageResult[PublishMetrics]:
    folder, recorder = new_folder("published"), MemoryRecorder()
    return StageResult(folder, publish(publish_inputs, folder, recorder), recorder)
