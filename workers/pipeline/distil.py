"""Stage 5: train the student on the transfer set, and beside it the two students that show what the generated texts are worth."""

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from tokenizers import Tokenizer

from app.contracts.spec import DistilSpec
from app.contracts.students import TOKENIZER_FILE
from workers.students.base import Student, parameter_count
from workers.students.registry import ARCHITECTURES
from workers.students.sizing import plan_student
from workers.students.vectors import piece_vectors, vector_width
from workers.students.vocabulary import choose_vocabulary
from workers.training.checkpointing import Checkpoints, MakeState, pack_files, unpack_files
from workers.training.checkpoints import CURVE_FILE, CURVE_RUN, StudentShape, save_student
from workers.training.curves import is_point, tell_point
from workers.training.devices import pick_device
from workers.training.distillation import EpochLosses, Targets, epochs_within, new_student, shipped, student_ids, train_student
from workers.training.encoder import load_teacher
from workers.training.recorder import Recorder
from workers.training.split import Lineage, Split
from workers.training.transfer import Part, TransferPart, read_transfer

RUNS = ("student", "no_generation", "seed_only")
"""The student; the same distilled without generated texts; the same trained on the seed rows' labels alone, without the teacher's.

Where the split has that lineage, the student goes on with the published teacher's answers, as `Lineage.PUBLISHED`.
"""
_STATE_FORMAT = "distil/1"


@dataclass(frozen=True)
class DistilInputs:
    split: Split
    teacher: Path
    transfer: Path
    spec: DistilSpec
    shrink: int = 1
    """Batches are read in so many parts."""


@dataclass(frozen=True)
class DistilMetrics:
    """`texts`: of one pass, and `kd_loss`: of the last epoch, by run."""

    parameters: int
    dimensions: int
    vocabulary: int
    texts: dict[str, int]
    kd_loss: dict[str, float]


def distil(inputs: DistilInputs, out: Path, recorder: Recorder) -> DistilMetrics:
    """Writes the tokenizer and, for each run, a student with its table multiplied out to `out`.

    All have the same architecture, starting vectors, schedule and number of epochs; they differ in texts and targets alone. Raises
    `ValueError` if no student fits `max_parameters` and `max_bytes`, `FloatingPointError` if a loss is not finite.
    """
    spec, split = inputs.spec, inputs.split
    device = pick_device()
    teacher, slow = load_teacher(inputs.teacher / Lineage.MEASURED)
    tokenizer = _serving_tokenizer(inputs.teacher / Lineage.MEASURED)
    pad_id, unknown_id = int(slow.pad_token_id or 0), int(slow.unk_token_id or 0)

    def targets(part: TransferPart) -> Targets:
        return Targets(student_ids(tokenizer, part.texts, spec.max_tokens, pad_id), part.logits, part.hard)

    transfer = read_transfer(inputs.transfer, split.labels, Lineage.MEASURED)
    parts = {part: targets(texts) for part, texts in transfer.items()}
    texts = [row for part in parts.values() for row in part.ids]
    plan = plan_student(
        ARCHITECTURES[spec.student], len(slow), len(split.labels), vector_width(teacher), spec, len(tokenizer.to_str(pretty=False).encode())
    )
    vocabulary = choose_vocabulary(len(slow), pad_id, unknown_id, texts, spec.max_parameters, plan.room)
    base = piece_vectors(teacher, slow, vocabulary.pieces, device, recorder.check, inputs.shrink).to(device)
    del teacher
    planned = spec.model_copy(update={"max_parameters": plan.max_parameters})
    # Only the seed rows have labels that are not the teacher's; among thousands of other texts they would hardly count.
    own = parts[Part.SEED].repeat(spec.seed_repeats) + parts[Part.RECOMBINED_SEED]
    trainings = {
        "student": (own + parts[Part.GENERATED] + parts[Part.RECOMBINED], spec),
        "no_generation": (own, spec),
        "seed_only": (parts[Part.SEED], spec.model_copy(update={"alpha": 0.0})),
    }
    curve = sorted(set(transfer[Part.GENERATED].within))[:-1]  # the last is all of them
    for texts_used in curve:
        rows = own
        for part in (Part.GENERATED, Part.RECOMBINED):
            rows = rows + parts[part].take([place for place, within in enumerate(transfer[part].within) if within <= texts_used])
        trainings[CURVE_RUN.format(texts_used)] = (rows, spec)
    refit = _refit_targets(inputs, parts, targets) if split.refit else None
    epochs = {run: epochs_within(spec, spec.epochs, len(rows.ids)) for run, (rows, _) in trainings.items()}
    if refit is not None:
        epochs[Lineage.PUBLISHED] = epochs_within(spec, spec.refit_epochs, len(refit.ids))
    total = sum(epochs.values())
    checkpoints = Checkpoints(recorder, _STATE_FORMAT)
    state = checkpoints.take() or {"kd_loss": {}, "files": {}, "training": None}
    kd_loss, resume = state["kd_loss"], state["training"]
    unpack_files(state.pop("files"), out)
    before = 0

    def train(run: str, student: Student, rows: Targets, run_spec: DistilSpec) -> Student:
        def on_epoch(now: EpochLosses) -> None:
            recorder.progress(before + now.epoch, total)
            if is_point(now.epoch, epochs[run]):
                loss = run_spec.alpha * now.kd_loss + (1 - run_spec.alpha) * now.class_loss
                losses = {"kd_loss": now.kd_loss, "class_loss": now.class_loss}
                tell_point(recorder, f"{run}_loss", now.epoch, epochs[run], loss, run=run, **losses)

        def offer(make: MakeState) -> None:
            checkpoints.offer(lambda: {"kd_loss": kd_loss, "files": pack_files(out), "training": make()})

        nonlocal resume
        if resume is not None:
            recorder.progress(before + resume["losses"][0], total)
        kd_loss[run] = train_student(student, rows, run_spec, epochs[run], on_epoch, recorder.check, inputs.shrink, resume, offer).kd_loss
        resume = None
        plain = shipped(student, vocabulary)
        save_student(
            plain, StudentShape(spec.student, plain.embedding.width, len(split.labels), spec.max_tokens, pad_id, plan.precision), out, run
        )
        return plain

    for run, (rows, run_spec) in reversed(trainings.items()):
        student = new_student(ARCHITECTURES[spec.student], vocabulary, base, len(split.labels), planned, device)
        if run not in kd_loss:  # an earlier attempt may have finished it
            plain = train(run, student, rows, run_spec)
        before += epochs[run]
    sizes = {run: len(rows.ids) for run, (rows, _) in reversed(trainings.items())}
    if refit is not None:
        plain = train(Lineage.PUBLISHED.value, student, refit, spec)
        sizes[Lineage.PUBLISHED.value] = len(refit.ids)
    tokenizer.save(str(out / TOKENIZER_FILE), pretty=False)
    (out / CURVE_FILE).write_text(json.dumps(curve))
    return DistilMetrics(
        parameter_count(plain),
        plain.embedding.width,
        len(vocabulary.pieces),
        sizes,
        kd_loss,
    )


def _refit_targets(inputs: DistilInputs, parts: dict[Part, Targets], targets: Callable[[TransferPart], Targets]) -> Targets:
    """The same texts with the published teacher's answers, and the holdout. `parts`: as ids, with the measured teacher's answers."""
    found = {
        part: targets(texts) if part == Part.HOLDOUT else replace(parts[part], logits=texts.logits, hard=texts.hard)
        for part, texts in read_transfer(inputs.transfer, inputs.split.labels, Lineage.PUBLISHED).items()
    }
    rows = (found[Part.SEED] + found[Part.HOLDOUT]).repeat(inputs.spec.seed_repeats)
    for part in (Part.RECOMBINED_SEED, Part.GENERATED, Part.RECOMBINED):
        rows = rows + found[part]
    return rows


def _serving_tokenizer(folder: Path) -> Tokenizer:
    tokenizer = Tokenizer.from_file(str(folder / TOKENIZER_FILE))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer
