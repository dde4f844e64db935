"""Stage 5: train the student on the transfer set, and beside it the two students that show what the generated texts are worth."""

from dataclasses import asdict, dataclass
from pathlib import Path

from tokenizers import Tokenizer

from app.contracts.spec import DistilSpec
from app.contracts.students import TOKENIZER_FILE
from workers.students.base import parameter_count
from workers.students.registry import ARCHITECTURES
from workers.students.vectors import piece_vectors
from workers.students.vocabulary import choose_vocabulary
from workers.training.checkpoints import StudentShape, save_student
from workers.training.devices import pick_device
from workers.training.distillation import EpochLosses, Fit, student_ids, train_student
from workers.training.encoder import load_teacher
from workers.training.recorder import Recorder
from workers.training.split import Split
from workers.training.transfer import read_transfer

RUNS = ("student", "no_generation", "seed_only")
"""The student; the same distilled on the seed rows alone; the same trained on the seed rows' labels alone, without the teacher's."""


@dataclass(frozen=True)
class DistilInputs:
    split: Split
    teacher: Path
    transfer: Path
    spec: DistilSpec


@dataclass(frozen=True)
class DistilMetrics:
    parameters: int
    dimensions: int
    vocabulary: int
    kept_epoch: dict[str, int]
    validation_loss: dict[str, float]
    validation_accuracy: dict[str, float]


def distil(inputs: DistilInputs, out: Path, recorder: Recorder) -> DistilMetrics:
    """Writes the tokenizer and, for each of `RUNS`, a folded student to `out`.

    All three have the same architecture, starting vectors, schedule and number of epochs; they differ in texts and targets alone.
    Raises `ValueError` if no student fits `max_parameters`, `FloatingPointError` if a loss is not finite.
    """
    spec, labels = inputs.spec, inputs.split.labels
    device = pick_device()
    teacher, slow = load_teacher(inputs.teacher)
    tokenizer = _serving_tokenizer(inputs.teacher)
    pad_id, unknown_id = int(slow.pad_token_id or 0), int(slow.unk_token_id or 0)
    parts = read_transfer(inputs.transfer, labels)
    ids = {name: student_ids(tokenizer, part.texts, spec.max_tokens, pad_id) for name, part in parts.items()}
    vocabulary = choose_vocabulary(len(slow), pad_id, unknown_id, ids["train"] + ids["generated"], spec.max_parameters)
    base = piece_vectors(teacher, slow, vocabulary.pieces, device, recorder.check).to(device)
    del teacher
    # Only the seed rows have labels that are not the teacher's; among thousands of generated texts they would hardly count.
    repeats = spec.seed_repeats
    transfers = {
        "student": ((ids["train"] * repeats + ids["generated"], parts["train"].repeat(repeats) + parts["generated"]), spec),
        "no_generation": ((ids["train"], parts["train"]), spec),
        "seed_only": ((ids["train"], parts["train"]), spec.model_copy(update={"alpha": 0.0})),
    }
    fits: dict[str, Fit] = {}
    for position, run in enumerate(RUNS):
        train, run_spec = transfers[run]

        def on_epoch(losses: EpochLosses, run: str = run, position: int = position) -> None:
            recorder.progress(position * spec.epochs + losses.epoch, len(RUNS) * spec.epochs)
            message = f"{run} epoch {losses.epoch}: kd_loss {losses.kd_loss:.4f}, class_loss {losses.class_loss:.4f}"
            recorder.event("epoch", f"{message}, validation accuracy {losses.validation_accuracy:.3f}", run=run, **asdict(losses))

        validation = (ids["validation"], parts["validation"])
        fits[run] = train_student(
            ARCHITECTURES[spec.student], vocabulary, base, train, validation, run_spec, device, on_epoch, recorder.check
        )
        shape = StudentShape(spec.student, fits[run].dimensions, len(labels), spec.max_tokens, pad_id)
        save_student(fits[run].student, shape, out, run)
    tokenizer.save(str(out / TOKENIZER_FILE), pretty=False)
    return DistilMetrics(
        parameter_count(fits["student"].student),
        shape.dimensions,
        len(vocabulary.pieces),
        {run: fit.kept_epoch for run, fit in fits.items()},
        {run: fit.validation_loss for run, fit in fits.items()},
        {run: fit.validation_accuracy for run, fit in fits.items()},
    )


def _serving_tokenizer(folder: Path) -> Tokenizer:
    tokenizer = Tokenizer.from_file(str(folder / TOKENIZER_FILE))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer
