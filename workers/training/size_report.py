"""What each type of table costs and keeps, and which one ships."""

from pathlib import Path
from typing import Literal, get_args

from tokenizers import Tokenizer

from app.contracts.spec import TablePrecision
from app.contracts.students import TOKENIZER_FILE, PrecisionEntry
from workers.training.candidates import both_logits
from workers.training.checkpoints import load_student
from workers.training.distillation import student_ids, student_logits
from workers.training.metrics import Indices
from workers.training.onnx_export import ParityError, onnx_logits, prove_agreement
from workers.training.precision import export_student, has_integer_form


def precision_entries(students: Path, run: str, texts: list[str], truth: Indices, work: Path) -> dict[str, PrecisionEntry]:
    """`texts`: first the holdout's, whose labels are `truth` (N,), then others. Leaves nothing in `work`."""
    student, shape = load_student(students, run)
    tokenizer = students / TOKENIZER_FILE
    ids = student_ids(Tokenizer.from_file(str(tokenizer)), texts, shape.max_tokens, shape.pad_id)
    expected = student_logits(student, ids, shape.pad_id)
    hits = (expected[: len(truth)].argmax(-1).numpy() == truth).mean()
    entries: dict[str, PrecisionEntry] = {}
    for precision in get_args(TablePrecision):
        file = work / f"{precision}.onnx"
        export_student(student, file, precision)
        found = onnx_logits(file, ids, shape.pad_id)
        entries[precision] = PrecisionEntry(
            bytes=file.stat().st_size + tokenizer.stat().st_size,
            accuracy_difference=float((found[: len(truth)].argmax(-1).numpy() == truth).mean() - hits),
            agreement=(found.argmax(-1) == expected.argmax(-1)).double().mean().item(),
            max_abs_logit_difference=(found - expected).abs().max().item(),
        )
        file.unlink()
    return entries


def shipped_precision(
    students: Path,
    run: str,
    wanted: Literal["auto"] | TablePrecision,
    entries: dict[str, PrecisionEntry],
    texts: list[str],
    least: float,
    work: Path,
) -> TablePrecision:
    """Of `run`, the student that ships; `entries` are the measured one's, on the same texts. Leaves nothing in `work`.

    `auto` is what the stage `distil` planned with. Where that is fp16 and int8 would be faster, it is int8, if that costs no right answer
    on the holdout and both students answer at least `least` of the texts as before. Raises `ParityError` if int8 is asked for or planned
    and the student that ships answers fewer so.
    """
    student, shape = load_student(students, run)
    chosen = shape.precision if wanted == "auto" else wanted
    free = wanted == "auto" and chosen == "fp16" and has_integer_form(student)
    if free and (entries["int8"].accuracy_difference < 0 or entries["int8"].agreement < least):
        return "fp16"
    if chosen != "int8" and not free:
        return chosen
    file = work / "shipped.onnx"
    export_student(student, file, "int8")
    try:
        prove_agreement(*both_logits(students, run, texts, file), least)
    except ParityError:
        if not free:
            raise
        return "fp16"
    finally:
        file.unlink()
    return "int8"
