"""What each type of table costs and keeps."""

from pathlib import Path
from typing import get_args

from tokenizers import Tokenizer

from app.contracts.spec import TablePrecision
from app.contracts.students import TOKENIZER_FILE, PrecisionEntry
from workers.training.checkpoints import load_student
from workers.training.distillation import student_ids, student_logits
from workers.training.metrics import Indices
from workers.training.onnx_export import export_onnx, onnx_logits
from workers.training.precision import convert_table


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
        export_onnx(student, file)
        convert_table(file, precision)
        found = onnx_logits(file, ids, shape.pad_id)
        entries[precision] = PrecisionEntry(
            bytes=file.stat().st_size + tokenizer.stat().st_size,
            accuracy_difference=float((found[: len(truth)].argmax(-1).numpy() == truth).mean() - hits),
            agreement=(found.argmax(-1) == expected.argmax(-1)).double().mean().item(),
            max_abs_logit_difference=(found - expected).abs().max().item(),
        )
        file.unlink()
    return entries
