"""One stage from its job's point of view: find its inputs, reuse its artefact or make it, store what it made."""

import shutil
import time
import uuid
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import Any

from app.contracts.artefacts import ArtefactManifest, FileEntry, artefact_key, spec_of
from app.contracts.rows import parse_rows
from app.contracts.spec import JobSpec
from app.contracts.stages import GRAPH, Stage
from app.storage import BlobStore, TornArtefact, file_sha256
from workers.models import ModelFolder, resolve_model
from workers.pipeline.distil import DistilInputs, distil
from workers.pipeline.finetune_generator import GeneratorInputs, finetune_generator
from workers.pipeline.finetune_teacher import TeacherInputs, finetune_teacher
from workers.pipeline.generate import TEXTS_FILE, GenerateInputs, generate
from workers.pipeline.label import LabelInputs, label
from workers.pipeline.publish import PublishInputs, publish
from workers.training.recorder import Recorder
from workers.training.split import Split, split_rows

_PACKAGES = ("torch", "transformers", "tokenizers", "onnx", "onnxruntime", "scikit-learn", "numpy", "gendistil")


@dataclass(frozen=True)
class JobContext:
    """What the stages of one job read: plain values, so that nothing of the database is held while a stage runs."""

    job_id: str
    dataset_hash: str
    has_test: bool
    spec: JobSpec
    done: dict[Stage, str]
    """Artefact keys of the stages before."""


@dataclass(frozen=True)
class Outcome:
    manifest: ArtefactManifest
    reused: bool


class StageExecution:
    """Runs one stage. `data_dir` holds scratch folders and converted models."""

    def __init__(self, stage: Stage, context: JobContext, storage: BlobStore, data_dir: Path) -> None:
        self.stage, self.context, self.spec, self.storage, self.data_dir = stage, context, context.spec, storage, data_dir

    def run(self, recorder: Recorder) -> Outcome:
        """Reuses the artefact if it is complete, else makes it; a partial one is removed whatever happens."""
        inputs = self._input_keys()
        key = artefact_key(self.stage, self.spec, inputs)
        if (manifest := self.storage.manifest(key)) is not None:
            return Outcome(manifest, reused=True)
        scratch = self.data_dir / "work" / f"{self.stage}-{uuid.uuid4().hex}"
        scratch.mkdir(parents=True)
        start = time.monotonic()
        try:
            metrics = asdict(_RUN[self.stage](self, scratch, recorder))
            recorder.check()
            manifest = ArtefactManifest(
                stage=self.stage,
                key=key,
                version=GRAPH[self.stage].version,
                spec=spec_of(self.stage, self.spec),
                inputs=inputs,
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
            self.storage.publish(scratch, manifest)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
        return Outcome(manifest, reused=False)

    def _input_keys(self) -> dict[str, str]:
        keys: dict[str, str] = {stage.value: self.context.done[stage] for stage in GRAPH[self.stage].after}
        if not keys:
            keys["dataset"] = self.context.dataset_hash
            keys["model"] = self.model.fingerprint
        if not GRAPH[self.stage].reusable:
            keys["job"] = self.context.job_id
        return keys

    @cached_property
    def model(self) -> ModelFolder:
        """The pretrained weights of the stages that finetune."""
        spec = self.spec.teacher if self.stage == Stage.FINETUNE_TEACHER else self.spec.generator
        return resolve_model(spec.model, self.data_dir / "models")

    @cached_property
    def split(self) -> Split:
        folder = f"datasets/{self.context.dataset_hash}"
        rows = parse_rows(self.storage.read(f"{folder}/rows.jsonl"))
        test = parse_rows(self.storage.read(f"{folder}/test.jsonl")) if self.context.has_test else []
        return split_rows(rows, test, self.spec.split)

    def artefact(self, stage: Stage) -> Path:
        """The folder of an earlier stage's artefact. Raises `TornArtefact` if it is not whole, or not there any more."""
        try:
            return self.storage.fetch(self.context.done[stage])
        except FileNotFoundError as error:
            raise TornArtefact(str(error)) from error

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


def _publish(run: StageExecution, out: Path, recorder: Recorder) -> Any:
    generated = run.storage.manifest(run.context.done[Stage.GENERATE])
    inputs = PublishInputs(
        split=run.split,
        holdout_source="test" if run.context.has_test else "split",
        teacher=run.artefact(Stage.FINETUNE_TEACHER),
        students=run.artefact(Stage.DISTIL),
        teacher_spec=run.spec.teacher,
        spec=run.spec.publish,
        generated=generated.metrics["verdicts"] if generated else {},
        warnings=generated.warnings if generated else [],
        lineage=run.lineage(),
    )
    return publish(inputs, out, recorder)


_RUN: dict[Stage, Callable[[StageExecution, Path, Recorder], Any]] = {
    Stage.FINETUNE_TEACHER: lambda run, out, recorder: finetune_teacher(
        TeacherInputs(run.split, run.model.path, run.spec.teacher), out, recorder
    ),
    Stage.FINETUNE_GENERATOR: lambda run, out, recorder: finetune_generator(
        GeneratorInputs(run.split, run.model.path, run.spec.generator), out, recorder
    ),
    Stage.GENERATE: lambda run, out, recorder: generate(
        GenerateInputs(run.split, run.artefact(Stage.FINETUNE_GENERATOR), run.spec.generator, run.spec.generate), out, recorder
    ),
    Stage.LABEL: lambda run, out, recorder: label(
        LabelInputs(
            run.split, run.artefact(Stage.FINETUNE_TEACHER), run.artefact(Stage.GENERATE) / TEXTS_FILE, run.spec.teacher, run.spec.label
        ),
        out,
        recorder,
    ),
    Stage.DISTIL: lambda run, out, recorder: distil(
        DistilInputs(run.split, run.artefact(Stage.FINETUNE_TEACHER), run.artefact(Stage.LABEL), run.spec.distil), out, recorder
    ),
    Stage.PUBLISH: _publish,
}
