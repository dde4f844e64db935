"""One stage from its job's point of view: find its inputs, reuse its artefact or make it, store what it made."""

import hashlib
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import Any

from app.contracts.artefacts import ArtefactManifest, FileEntry, artefact_key, spec_of
from app.contracts.memorisation import Memorisation
from app.contracts.projects import DEFAULT_PROJECT
from app.contracts.rows import content_hash, parse_rows
from app.contracts.spec import JobSpec
from app.contracts.stages import GRAPH, Stage
from app.contracts.texts import KEPT, REJECTED
from app.storage import BlobStore, StorageAway, TornArtefact, file_sha256
from workers.models import ModelFolder, resolve_model
from workers.pipeline.distil import DistilInputs, distil
from workers.pipeline.finetune_generator import GeneratorInputs, finetune_generator
from workers.pipeline.finetune_teacher import TeacherInputs, finetune_teacher
from workers.pipeline.generate import TEXTS_FILE, GenerateInputs, generate, generate_shard
from workers.pipeline.generate import shard_sizes as generate_sizes
from workers.pipeline.label import LabelInputs, label, label_shard
from workers.pipeline.label import shard_sizes as label_sizes
from workers.pipeline.publish import PublishInputs, publish
from workers.room import check_room
from workers.scratch import Scratch
from workers.training.recorder import Recorder
from workers.training.split import Split, split_rows

_PACKAGES = ("torch", "transformers", "tokenizers", "onnx", "onnxruntime", "scikit-learn", "numpy", "gendistil")


class Lost(Exception):
    """Artefacts of earlier stages are damaged or gone; what was left of them has been removed, so that they can be made anew."""

    def __init__(self, stages: tuple[Stage, ...], detail: str) -> None:
        super().__init__(detail)
        self.stages = stages


class DamagedDataset(Exception):
    """The stored rows are not those that were posted."""


@dataclass(frozen=True)
class JobContext:
    """What the stages of one job read: plain values, so that nothing of the database is held while a stage runs."""

    job_id: str
    dataset_hash: str
    has_test: bool
    spec: JobSpec
    done: dict[Stage, str]
    """Artefact keys of the stages before."""
    shard: int = 0
    """Counted from 1; 0 is the stage itself."""
    shrink: int = 1
    """Divides the batches, after memory ran out."""
    project: str = DEFAULT_PROJECT
    lineage_hash: str | None = None
    """What stages are named after, where that is not `dataset_hash`."""


@dataclass(frozen=True)
class Outcome:
    """The artefact's manifest; or none, and the sizes of those `shards` of the stage's `of` that are to be made first."""

    manifest: ArtefactManifest | None
    reused: bool = False
    shards: dict[int, float] = field(default_factory=dict)
    of: int = 1


class StageExecution:
    """Runs one stage, or one shard of it. `data_dir` holds scratch folders and converted models."""

    def __init__(self, stage: Stage, context: JobContext, storage: BlobStore, data_dir: Path) -> None:
        self.stage, self.context, self.spec, self.storage = stage, context, context.spec, storage
        self.data_dir = data_dir
        self.scratch = Scratch(data_dir / "work", stage)

    @cached_property
    def whole_key(self) -> str:
        """Of the stage's artefact."""
        return artefact_key(self.stage, self.spec, self._inputs)

    @cached_property
    def key(self) -> str:
        """Of what is made here: the stage's artefact, or one shard of it."""
        return shard_key(self.whole_key, self.context.shard) if self.context.shard else self.whole_key

    def run(self, recorder: Recorder) -> Outcome:
        """Reuses the artefact if it is complete, else makes it; a partial one is removed whatever happens. Raises `Lost`."""
        if (manifest := self.storage.manifest(self.key)) is not None:
            return Outcome(manifest, reused=True)
        shards: list[Path] = []
        if self.stage in SHARDED and not self.context.shard:
            sizes = SHARDED[self.stage].sizes(self)
            found = {number: self._shard(number) for number in range(1, len(sizes) + 1)} if len(sizes) > 1 else {}
            if missing := {number: float(sizes[number - 1]) for number, folder in found.items() if folder is None}:
                return Outcome(None, shards=missing, of=len(sizes))
            shards = [folder for folder in found.values() if folder is not None]
        check_room(self.stage, self.spec, self.split, self.context.has_test, self.storage)
        scratch = self.scratch.out
        start = time.monotonic()
        try:
            self.scratch.make()
            metrics = asdict(self._make(scratch, shards, recorder))
            recorder.check()
            manifest = ArtefactManifest(
                stage=self.stage,
                key=self.key,
                version=GRAPH[self.stage].version,
                spec=spec_of(self.stage, self.spec),
                inputs=self._inputs,
                files={
                    str(file.relative_to(scratch)): FileEntry(sha256=file_sha256(file), bytes=file.stat().st_size)
                    for file in sorted(scratch.rglob("*"))
                    if file.is_file()
                },
                metrics=metrics,
                warnings=[metrics["shortfall"]] if metrics.get("shortfall") else [],
                seconds=round(time.monotonic() - start, 3),
                packages=package_versions(),
            )
            manifest = self.storage.publish(scratch, manifest)  # another worker's, if that was first
        finally:
            self.scratch.remove()
        for number in range(1, len(shards) + 1):
            self.storage.drop(shard_key(self.whole_key, number))
        return Outcome(manifest)

    def _make(self, out: Path, shards: list[Path], recorder: Recorder) -> Any:
        if self.context.shard:
            return SHARDED[self.stage].make(self, self.context.shard, out, recorder)
        return _RUN[self.stage](self, shards, out, recorder)

    def _shard(self, number: int) -> Path | None:
        key = shard_key(self.whole_key, number)
        try:
            return self.storage.fetch(key)
        except FileNotFoundError:
            return None
        except TornArtefact:
            self.storage.drop(key)
            return None

    @cached_property
    def _inputs(self) -> dict[str, str]:
        """Keys of what the stage is made from."""
        keys: dict[str, str] = {stage.value: self.context.done[stage] for stage in GRAPH[self.stage].after}
        if not keys:
            keys["dataset"] = self.context.lineage_hash or self.context.dataset_hash
            keys["model"] = self.model.fingerprint
        if not GRAPH[self.stage].reusable:
            keys["job"] = self.context.job_id
        return keys

    @cached_property
    def model(self) -> ModelFolder:
        """The pretrained weights of the stages that finetune."""
        spec = self.spec.teacher if self.stage == Stage.FINETUNE_TEACHER else self.spec.generator
        return resolve_model(spec.model, self.data_dir / "models")

    @property
    def _dataset(self) -> str:
        return f"datasets/{self.context.dataset_hash}"

    @cached_property
    def split(self) -> Split:
        """Raises `DamagedDataset`."""
        rows = self.storage.read(f"{self._dataset}/rows.jsonl")
        test = self.storage.read(f"{self._dataset}/test.jsonl") if self.context.has_test else b""
        if content_hash(rows, test, self.context.project) != self.context.dataset_hash:
            raise DamagedDataset(f"The rows of dataset {self.context.dataset_hash} do not match their hash.")
        return split_rows(parse_rows(rows), parse_rows(test), self.spec.split)

    def artefact(self, stage: Stage) -> Path:
        """The folder of an earlier stage's artefact. Raises `Lost` if it is not whole, or not there any more."""
        return self.fetch(stage, self.context.done[stage])

    def fetch(self, stage: Stage, key: str) -> Path:
        """As `artefact`, of one of this job's whose key is not on its row yet."""
        try:
            return self.storage.fetch(key)
        except (FileNotFoundError, TornArtefact) as error:
            if isinstance(error, FileNotFoundError) and not self.storage.exists(f"{self._dataset}/rows.jsonl"):
                # Nor are the rows there: a folder that is not mounted, and no reason to make everything anew.
                raise StorageAway(str(error)) from error
            self.storage.drop(key)
            raise Lost((stage,), str(error)) from error

    def lineage(self) -> dict[str, Any]:
        dumped = self.spec.model_dump(mode="json")
        return {
            "job": self.context.job_id,
            "dataset": self.context.dataset_hash,
            "spec": dumped,
            "artefacts": {stage.value: key for stage, key in self.context.done.items()},
            "packages": package_versions(),
            "seeds": {name: part["seed"] for name, part in dumped.items() if "seed" in part},
        }


def package_versions() -> dict[str, str]:
    return {name: version(name) for name in _PACKAGES}


def shard_key(whole: str, number: int) -> str:
    """Of the shard `number` of the stage whose artefact's key is `whole`."""
    return hashlib.sha256(f"{whole}/shard/{number}".encode()).hexdigest()


def _generate_inputs(run: StageExecution) -> GenerateInputs:
    return GenerateInputs(
        run.split,
        run.artefact(Stage.FINETUNE_GENERATOR),
        run.spec.generator,
        run.spec.generate,
        shrink=run.context.shrink,
        tell=run.spec.privacy.tell_samples,
    )


def _label_inputs(run: StageExecution) -> LabelInputs:
    teacher, texts = run.artefact(Stage.FINETUNE_TEACHER), run.artefact(Stage.GENERATE) / TEXTS_FILE
    return LabelInputs(run.split, teacher, texts, run.spec.teacher, run.spec.label, shrink=run.context.shrink)


def _distil_inputs(run: StageExecution) -> DistilInputs:
    teacher, transfer = run.artefact(Stage.FINETUNE_TEACHER), run.artefact(Stage.LABEL)
    return DistilInputs(run.split, teacher, transfer, run.spec.distil, shrink=run.context.shrink)


def _verdicts(generated: ArtefactManifest | None, labelled: ArtefactManifest | None) -> dict[str, int]:
    """Generated texts by verdict: the filters', and a person's, which the label stage puts in force."""
    verdicts: dict[str, int] = dict(generated.metrics["verdicts"]) if generated else {}
    if generated and labelled and (rejected := labelled.metrics.get("rejected_texts")):
        verdicts |= {KEPT: verdicts[KEPT] - rejected, REJECTED: rejected}
    return verdicts


def _memorisation(generated: ArtefactManifest | None) -> Memorisation | None:
    # An earlier version's stage did not count it.
    counted = generated.metrics.get("memorisation") if generated else None
    return Memorisation.model_validate(counted) if counted else None


def _publish(run: StageExecution, out: Path, recorder: Recorder) -> Any:
    generated, labelled = (run.storage.manifest(run.context.done[stage]) for stage in (Stage.GENERATE, Stage.LABEL))
    inputs = PublishInputs(
        split=run.split,
        holdout_source="test" if run.context.has_test else "split",
        teacher=run.artefact(Stage.FINETUNE_TEACHER),
        students=run.artefact(Stage.DISTIL),
        transfer=run.artefact(Stage.LABEL),
        teacher_spec=run.spec.teacher,
        spec=run.spec.publish,
        generated=_verdicts(generated, labelled),
        warnings=generated.warnings if generated else [],
        lineage=run.lineage(),
        shrink=run.context.shrink,
        memorisation=_memorisation(generated),
    )
    return publish(inputs, out, recorder)


_RUN: dict[Stage, Callable[[StageExecution, list[Path], Path, Recorder], Any]] = {
    Stage.FINETUNE_TEACHER: lambda run, _, out, recorder: finetune_teacher(
        TeacherInputs(run.split, run.model.path, run.spec.teacher, shrink=run.context.shrink), out, recorder
    ),
    Stage.FINETUNE_GENERATOR: lambda run, _, out, recorder: finetune_generator(
        GeneratorInputs(run.split, run.model.path, run.spec.generator, shrink=run.context.shrink), out, recorder
    ),
    Stage.GENERATE: lambda run, shards, out, recorder: generate(_generate_inputs(run), shards, out, recorder),
    Stage.LABEL: lambda run, shards, out, recorder: label(_label_inputs(run), shards, out, recorder),
    Stage.DISTIL: lambda run, _, out, recorder: distil(_distil_inputs(run), out, recorder),
    Stage.PUBLISH: lambda run, _, out, recorder: _publish(run, out, recorder),
}


@dataclass(frozen=True)
class _Sharded:
    """`sizes` of all shards, in the stage's unit; `make` one of them, counted from 1."""

    sizes: Callable[[StageExecution], list[int]]
    make: Callable[[StageExecution, int, Path, Recorder], Any]


SHARDED: dict[Stage, _Sharded] = {
    Stage.GENERATE: _Sharded(
        lambda run: generate_sizes(_generate_inputs(run)),
        lambda run, number, out, recorder: generate_shard(_generate_inputs(run), number, out, recorder),
    ),
    Stage.LABEL: _Sharded(
        lambda run: label_sizes(_label_inputs(run)),
        lambda run, number, out, recorder: label_shard(_label_inputs(run), number, out, recorder),
    ),
}
