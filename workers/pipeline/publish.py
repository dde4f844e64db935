"""Stage 6: export the student, prove that the export says the same, and score everything side by side on the holdout."""

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from tokenizers import Tokenizer
from torch import Tensor

from app.contracts.memorisation import Memorisation
from app.contracts.profile import pack_ids
from app.contracts.report import CurvePoint, Report, ReportEntry
from app.contracts.spec import PublishSpec, TeacherSpec
from app.contracts.students import ONNX_FILE, REPORT_FILE, STUDENT_MANIFEST_FILE, TOKENIZER_FILE, StudentManifest
from workers.training.candidates import (
    Candidate,
    run_logits,
    student_candidate,
    teacher_candidate,
    tfidf_candidate,
)
from workers.training.champion import write_answers
from workers.training.checkpoints import CURVE_FILE, CURVE_RUN, load_student
from workers.training.distillation import student_ids
from workers.training.metrics import (
    Indices,
    accuracy_interval,
    bootstrap_rows,
    confusion_matrix,
    difference_interval,
    macro_f1_interval,
    per_class_f1,
)
from workers.training.onnx_export import prove_parity
from workers.training.profile import holdout_profile, unknown_pieces
from workers.training.recorder import Recorder
from workers.training.score_report import published_temperature, scope_quantiles, score_report
from workers.training.size_report import precision_entries, shipped_precision
from workers.training.split import Lineage, Split
from workers.training.transfer import Part, read_transfer

_RUNS = {
    "student": "Distilled on seed rows, generated texts and recombinations of both.",
    "no_generation": "The same student, distilled on the seed rows and their recombinations, without generated texts.",
    "seed_only": "The same student, trained on the seed rows' labels without a teacher.",
}

_UNLABELLED = 2000


@dataclass(frozen=True)
class PublishInputs:
    """`generated`: samples by verdict. `warnings` of the stages before. `lineage`: hashes, versions and seeds for the manifest."""

    split: Split
    holdout_source: str
    teacher: Path
    students: Path
    transfer: Path
    teacher_spec: TeacherSpec
    spec: PublishSpec
    generated: dict[str, int]
    warnings: list[str]
    lineage: dict[str, Any]
    shrink: int = 1
    """Batches are read in so many parts."""
    memorisation: Memorisation | None = None


@dataclass(frozen=True)
class PublishMetrics:
    accuracy: float
    macro_f1: float
    teacher_accuracy: float
    agreement: float
    generation_gain: float
    parameters: int
    bytes: int
    max_abs_logit_difference: float
    ece: float


def publish(inputs: PublishInputs, out: Path, recorder: Recorder) -> PublishMetrics:
    """Writes the ONNX file, the tokenizer, `student.json` and `report.json` to `out`.

    The measured student gives the temperature and the thresholds, on the holdout. Raises `ParityError` if ONNX and torch disagree there, or
    in int8 on too many texts: such a student is not published.
    """
    split, shipped = inputs.split, "student" if not inputs.split.refit else Lineage.PUBLISHED.value
    texts = [row.text for row in split.holdout]
    truth = np.array(split.targets(split.holdout))
    others = _unlabelled(inputs)
    precisions = precision_entries(inputs.students, "student", texts + others, truth, out)
    precision = shipped_precision(
        inputs.students, shipped, inputs.spec.precision, precisions, texts + others, inputs.spec.int8_agreement, out
    )
    shutil.copy(inputs.students / TOKENIZER_FILE, out / TOKENIZER_FILE)
    candidates: list[Candidate] = []
    curve: list[int] = json.loads((inputs.students / CURVE_FILE).read_text())
    steps = len(_RUNS) + 2 + len(curve)
    read = 0

    def read_one() -> None:
        nonlocal read
        read += 1
        recorder.progress(round(len(texts) * read / steps), len(texts))

    def scored(candidate: Candidate) -> Candidate:
        candidates.append(candidate)
        read_one()
        return candidate

    def unshipped(run: str, description: str) -> Candidate:
        onnx = out / f"{run}.onnx"
        candidate, _, _ = student_candidate(inputs.students, run, description, texts, onnx, precision)
        onnx.unlink()
        return candidate

    teacher = scored(teacher_candidate(inputs.teacher / Lineage.MEASURED, inputs.teacher_spec, texts, recorder.check, inputs.shrink))
    student, torch_logits, shape = student_candidate(inputs.students, "student", _RUNS["student"], texts, out / ONNX_FILE, precision)
    scored(student)
    onnx_logits = student.logits
    if split.refit:  # this one has learned from the holdout: it ships, but its score there would mean nothing
        ships, torch_logits, shape = student_candidate(inputs.students, shipped, "", texts, out / ONNX_FILE, precision)
        onnx_logits = ships.logits
    if precision == "int8":
        difference = (torch_logits - onnx_logits).abs().max().item()
    else:
        difference = prove_parity(torch_logits, onnx_logits, inputs.spec.parity_tolerance)
    for run in ("seed_only", "no_generation"):
        scored(unshipped(run, _RUNS[run]))
    scored(tfidf_candidate(split, texts))

    write_answers(out, split, _answers(student.logits))
    draws = bootstrap_rows(len(truth), inputs.spec.bootstrap_samples, inputs.spec.seed)
    entries = [_entry(candidate, teacher.logits, truth, split.labels, draws) for candidate in candidates]
    by_name = {candidate.name: _answers(candidate.logits) == truth for candidate in candidates}
    gain = difference_interval(by_name["student"], by_name["no_generation"], draws)
    kept = inputs.generated.get("kept", 0)
    points = []
    for texts_used in curve:
        points.append(_point(texts_used, unshipped(CURVE_RUN.format(texts_used), "").logits, truth, split.labels, draws))
        read_one()
    if curve:
        scores_of = {candidate.name: candidate.logits for candidate in candidates}
        ends = [(0, scores_of["no_generation"]), (kept, scores_of["student"])]
        first, last = (_point(texts_used, logits, truth, split.labels, draws) for texts_used, logits in ends)
        points = [first, *points, last]
    honest = score_report(student.logits, teacher.logits, truth, inputs.spec.seed)
    if split.refit:
        measured, went_on = (run_logits(inputs.students, run, others) for run in ("student", shipped))
        temperature = published_temperature(measured, honest.student.temperature, went_on)
        honest = honest.model_copy(update={"published_temperature": temperature})
    report = Report(
        labels=split.labels,
        holdout_rows=len(truth),
        holdout_source=inputs.holdout_source,
        refit=split.refit,
        entries=entries,
        generated=inputs.generated,
        memorisation=inputs.memorisation,
        generation_gain=gain,
        verdict=_verdict(gain.value, gain.low, gain.high, kept),
        scores=honest,
        curve=points,
        warnings=inputs.warnings,
    )
    scores = {entry.name: entry for entry in entries}
    size = (out / ONNX_FILE).stat().st_size + (out / TOKENIZER_FILE).stat().st_size
    metrics = PublishMetrics(
        accuracy=scores["student"].accuracy.value,
        macro_f1=scores["student"].macro_f1.value,
        teacher_accuracy=scores["teacher"].accuracy.value,
        agreement=scores["student"].agreement,
        generation_gain=gain.value,
        parameters=student.parameters,
        bytes=size,
        max_abs_logit_difference=difference,
        ece=honest.student.after.ece,
    )
    tokenizer = Tokenizer.from_file(str(out / TOKENIZER_FILE))
    unknown = unknown_pieces(tokenizer, load_student(inputs.students, shipped)[0].rows)
    ids = student_ids(tokenizer, texts, shape.max_tokens, shape.pad_id)
    manifest = StudentManifest(
        kind=shape.kind,
        labels=split.labels,
        max_tokens=shape.max_tokens,
        pad_id=shape.pad_id,
        parameters=student.parameters,
        bytes=size,
        parity={"max_abs_logit_difference": difference, "rows": len(truth)},
        metrics={
            "accuracy": metrics.accuracy,
            "macro_f1": metrics.macro_f1,
            "agreement": metrics.agreement,
            "ece": metrics.ece,
        },
        precision=precision,
        precisions=precisions,
        temperature=honest.published_temperature,
        selective=honest.selective,
        scope_quantiles=scope_quantiles(student.logits),
        profile=holdout_profile(student.logits, honest.student.temperature, split.labels, ids, unknown),
        unknown_pieces=pack_ids(unknown),
        lineage={**inputs.lineage, "refit": split.refit},
    )
    (out / REPORT_FILE).write_text(report.model_dump_json(indent=1), encoding="utf-8")
    (out / STUDENT_MANIFEST_FILE).write_text(manifest.model_dump_json(indent=1), encoding="utf-8")
    return metrics


def _unlabelled(inputs: PublishInputs) -> list[str]:
    """Generated texts, or if there are none recombined ones, or the seed rows: both lineages' students know them equally well."""
    parts = read_transfer(inputs.transfer, inputs.split.labels, Lineage.MEASURED)
    return next(parts[part].texts for part in (Part.GENERATED, Part.RECOMBINED_SEED, Part.SEED) if parts[part].texts)[:_UNLABELLED]


def _answers(logits: Tensor) -> Indices:
    answers: Indices = logits.argmax(-1).numpy()
    return answers


def _entry(candidate: Candidate, teacher: Tensor, truth: Indices, labels: list[str], draws: Indices) -> ReportEntry:
    answers = _answers(candidate.logits)
    matrix = confusion_matrix(truth, answers, len(labels))
    return ReportEntry(
        name=candidate.name,
        description=candidate.description,
        accuracy=accuracy_interval(answers == truth, draws),
        macro_f1=macro_f1_interval(truth, answers, len(labels), draws),
        per_class_f1=dict(zip(labels, per_class_f1(matrix).tolist(), strict=True)),
        confusion_matrix=matrix.tolist(),
        agreement=float((answers == _answers(teacher)).mean()),
        parameters=candidate.parameters,
        bytes=candidate.bytes,
        latency_ms=candidate.latency_ms,
    )


def _point(texts: int, logits: Tensor, truth: Indices, labels: list[str], draws: Indices) -> CurvePoint:
    answers = _answers(logits)
    accuracy, macro_f1 = accuracy_interval(answers == truth, draws), macro_f1_interval(truth, answers, len(labels), draws)
    return CurvePoint(texts=texts, accuracy=accuracy, macro_f1=macro_f1)


def _verdict(gain: float, low: float, high: float, kept: int) -> str:
    """One line: whether generation helped, and by how much."""
    if not kept:
        return "No generated texts were used."
    points = f"{100 * gain:+.1f} points of accuracy (95 % interval {100 * low:+.1f} to {100 * high:+.1f})"
    if low > 0:
        return f"Generation helped: {kept:,} generated texts changed the student by {points}."
    if high < 0:
        return f"Generation hurt: {kept:,} generated texts changed the student by {points}."
    return f"Not decided on this holdout: {kept:,} generated texts changed the student by {points}, and the interval holds zero."
