"""What a limit in bytes makes of a student, against the files that come of it."""

from pathlib import Path

import pytest
import torch

from app.contracts.spec import DistilSpec, StudentKind
from workers.students.base import Student, parameter_count, widest
from workers.students.embedding import PlainEmbedding
from workers.students.registry import ARCHITECTURES
from workers.students.sizing import Plan, plan_student
from workers.students.vocabulary import choose_vocabulary
from workers.training.onnx_export import export_onnx
from workers.training.precision import convert_table

PIECES, CLASSES, TOKENIZER = 30_522, 20, 700_000


def plan(max_bytes: int | None, kind: StudentKind = "cnn") -> tuple[Plan, int]:
    """The plan, and the width that it leads to."""
    spec = DistilSpec(student=kind, max_bytes=max_bytes)
    found = plan_student(ARCHITECTURES[kind], PIECES, CLASSES, 512, spec, TOKENIZER)
    rows = min(PIECES, found.room)
    return found, widest(ARCHITECTURES[kind], rows, CLASSES, found.max_parameters, 512)


def test_without_a_limit_the_parameters_decide() -> None:
    assert plan(None)[0] == Plan(PIECES, 1_120_000, "fp16")


def test_a_limit_that_is_no_limit_changes_nothing() -> None:
    found, width = plan(10_000_000)
    assert (found.room, found.precision) == (PIECES, "fp16")
    assert width == plan(None)[1]


def test_first_int8_then_a_narrower_table_then_fewer_pieces() -> None:
    full = plan(None)[1]
    found = [plan(max_bytes) for max_bytes in (3_100_000, 2_200_000, 1_500_000, 1_200_000)]
    assert [(part.precision, part.room == PIECES) for part, _ in found] == [("fp16", True), ("int8", True), ("int8", True), ("int8", False)]
    widths = [width for _, width in found]
    assert widths[0] == widths[1] == full
    assert 16 <= widths[2] < full
    assert widths[3] == 32
    assert found[3][0].room >= 1000


@pytest.mark.parametrize("kind", ["cnn", "bilstm", "bag"])
@pytest.mark.parametrize("max_bytes", [3_000_000, 2_000_000, 1_500_000, 1_300_000])
def test_the_file_fits_and_the_room_is_used(kind: StudentKind, max_bytes: int, tmp_path: Path) -> None:
    found, width = plan(max_bytes, kind)
    architecture = ARCHITECTURES[kind]
    vocabulary = choose_vocabulary(PIECES, 0, 1, [], 1_120_000, found.room)
    table = torch.randn(len(vocabulary.pieces), width + architecture.weighted)
    student = Student(PlainEmbedding(table), architecture.head(width, CLASSES, 0.0), vocabulary).eval()
    assert parameter_count(student) <= 1_120_000
    path = tmp_path / "student.onnx"
    export_onnx(student, path)
    convert_table(path, found.precision)
    taken = TOKENIZER + path.stat().st_size
    assert taken <= max_bytes
    if found.precision == "int8" and width < plan(None, kind)[1]:
        assert taken > max_bytes - 80_000  # one more column, or a little of the graph's allowance


def test_what_cannot_fit_says_how_much_it_takes() -> None:
    with pytest.raises(ValueError, match=r"700,000 of them its tokenizer. Raise spec.distil.max_bytes"):
        plan(800_000)
    with pytest.raises(ValueError, match="fits into 100,000 bytes"):
        plan(100_000)
