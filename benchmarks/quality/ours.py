"""The stages of one job in their order, and what of it is scored. The only file of the bench that knows how stages are wired.

Teacher, generator, texts and transfer set are made once and shared by all kinds of student. Each stage leaves a marker when it is
done, so that a run that was cut off goes on after its last whole stage.
"""

import json
import shutil
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from transformers.utils.logging import disable_progress_bar

from app.contracts.rows import Row
from app.contracts.spec import JobSpec
from benchmarks.quality.methods import KINDS
from benchmarks.quality.outcome import Outcome
from benchmarks.quality.progress import PrintRecorder
from benchmarks.quality.scoring import score_student, score_teacher
from workers.models import resolve_model
from workers.pipeline.distil import DistilInputs, distil
from workers.pipeline.finetune_generator import GeneratorInputs, finetune_generator
from workers.pipeline.finetune_teacher import TeacherInputs, finetune_teacher
from workers.pipeline.generate import TEXTS_FILE, GenerateInputs, generate
from workers.pipeline.label import LabelInputs, label
from workers.training.filters import Verdict
from workers.training.recorder import Recorder
from workers.training.split import Lineage, Split, split_rows

disable_progress_bar()  # the bench tells its own progress

Record = Callable[[str, Outcome], None]


@dataclass(frozen=True)
class OursJob:
    """`real`: unlabelled real texts for the ceiling, none of them in `seed_rows` or `test`. `work`: this job's own; `models`: a cache."""

    name: str
    spec: JobSpec
    seed_rows: list[Row]
    test: list[Row]
    real: list[str]
    methods: list[str]
    work: Path
    models: Path


@dataclass(frozen=True)
class _Made:
    folder: Path
    seconds: float
    metrics: dict[str, Any]


def run_ours(job: OursJob, record: Record) -> None:
    """Trains what `job.methods` needs and hands over each score as soon as it is there."""
    spec = job.spec
    split = split_rows(job.seed_rows, job.test, spec.split)
    if split.refit or split.holdout != job.test:
        raise AssertionError("The test rows would be learned from.")
    texts = [row.text for row in job.test]
    encoder = resolve_model(spec.teacher.model, job.models).path
    teacher = _stage(job, "teacher", lambda out, recorder: finetune_teacher(TeacherInputs(split, encoder, spec.teacher), out, recorder))
    if "teacher" in job.methods:
        score = score_teacher(teacher.folder / Lineage.MEASURED, spec.teacher, split.labels, texts)
        record("teacher", replace(score, train_seconds=teacher.seconds, notes=_told(teacher)))
    if set(job.methods) <= {"teacher"}:
        return

    language_model = resolve_model(spec.generator.model, job.models).path
    generator = _stage(
        job, "generator", lambda out, recorder: finetune_generator(GeneratorInputs(split, language_model, spec.generator), out, recorder)
    )
    generated = _stage(
        job,
        "generate",
        lambda out, recorder: generate(GenerateInputs(split, generator.folder, spec.generator, spec.generate), [], out, recorder),
    )
    labelled = _label(job, split, teacher, generated.folder / TEXTS_FILE, "label")
    before = [teacher, generator, generated, labelled]
    own = spec.distil.student
    variants = {"seed_only", "no_generation"} & set(job.methods)
    for kind in KINDS:
        if kind not in job.methods and not (kind == own and variants):
            continue
        distilled = _distil(job, split, teacher, labelled, kind, f"distil-{kind}")
        if kind in job.methods:
            seconds = {made.folder.name: round(made.seconds, 1) for made in [*before, distilled]}
            notes = {"kind": kind, "generated_texts": _kept(generated.folder / TEXTS_FILE), "stage_seconds": seconds}
            score = score_student(distilled.folder, "student", split.labels, texts, job.work)
            record(kind, replace(score, train_seconds=sum(made.seconds for made in [*before, distilled]), notes=notes))
        for run in ("seed_only", "no_generation"):
            if kind == own and run in variants:
                record(run, replace(score_student(distilled.folder, run, split.labels, texts, job.work), notes={"kind": kind}))
    if "ceiling" in job.methods:
        _ceiling(job, split, teacher, _kept(generated.folder / TEXTS_FILE), record)


def _ceiling(job: OursJob, split: Split, teacher: _Made, wanted: int, record: Record) -> None:
    real = job.real[:wanted]
    if not real:
        return
    path = job.work / "real.jsonl"
    lines = (json.dumps({"text": text, "label": None, "verdict": Verdict.KEPT}, ensure_ascii=False) for text in real)
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    kind = job.spec.distil.student
    labelled = _label(job, split, teacher, path, "label-real")
    distilled = _distil(job, split, teacher, labelled, kind, f"distil-{kind}-real")
    score = score_student(distilled.folder, "student", split.labels, [row.text for row in job.test], job.work)
    record("ceiling", replace(score, notes={"kind": kind, "real_texts": len(real), "generated_texts": wanted}))


def _label(job: OursJob, split: Split, teacher: _Made, texts: Path, name: str) -> _Made:
    inputs = LabelInputs(split, teacher.folder, texts, job.spec.teacher, job.spec.label)
    return _stage(job, name, lambda out, recorder: label(inputs, [], out, recorder))


def _distil(job: OursJob, split: Split, teacher: _Made, transfer: _Made, kind: str, name: str) -> _Made:
    spec = job.spec.distil.model_copy(update={"student": kind})
    inputs = DistilInputs(split, teacher.folder, transfer.folder, spec)
    return _stage(job, name, lambda out, recorder: distil(inputs, out, recorder))


def _stage(job: OursJob, name: str, make: Callable[[Path, Recorder], Any]) -> _Made:
    folder, marker = job.work / name, job.work / f"{name}.done.json"
    if marker.is_file():
        return _Made(folder, **json.loads(marker.read_text(encoding="utf-8")))
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    start = time.monotonic()
    metrics = asdict(make(folder, PrintRecorder(f"{job.name} {name}")))
    made = _Made(folder, time.monotonic() - start, metrics)
    partial = marker.with_suffix(".part")
    partial.write_text(json.dumps({"seconds": made.seconds, "metrics": made.metrics}), encoding="utf-8")
    partial.replace(marker)
    return made


def _kept(path: Path) -> int:
    samples = (json.loads(line) for line in path.read_text(encoding="utf-8").split("\n") if line)
    return sum(sample["verdict"] == Verdict.KEPT for sample in samples)


def _told(made: _Made) -> dict[str, Any]:
    return {name: value for name, value in made.metrics.items() if isinstance(value, int | float)}
