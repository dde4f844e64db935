"""A student's file with a table of another type."""

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper

from app.contracts.spec import StudentKind, TablePrecision
from tests.workers.students.samples import random_student
from tests.workers.training.test_onnx_export import IDS
from workers.training.distillation import student_logits
from workers.training.integer_export import TABLE
from workers.training.onnx_export import ParityError, export_onnx, onnx_logits, prove_agreement, prove_parity
from workers.training.precision import convert_table

ROWS = torch.arange(300) % 120


def converted(folder: Path, precision: TablePrecision, kind: StudentKind = "cnn", rows: torch.Tensor | None = None) -> Path:
    path = folder / f"{precision}.onnx"
    export_onnx(random_student(kind, dimensions=64, rows=rows), path)
    convert_table(path, precision)
    return path


def table(path: Path) -> np.ndarray:
    return next(numpy_helper.to_array(tensor) for tensor in onnx.load(path).graph.initializer if tensor.name == TABLE)


@pytest.mark.parametrize("kind", ["cnn", "bilstm", "bag"])
@pytest.mark.parametrize("rows", [None, ROWS], ids=["whole", "pruned"])
def test_fp32_says_what_torch_says(kind: StudentKind, rows: torch.Tensor | None, tmp_path: Path) -> None:
    expected = student_logits(random_student(kind, dimensions=64, rows=rows), IDS, 0)
    path = converted(tmp_path, "fp32", kind, rows)
    assert table(path).dtype == np.float32
    assert prove_parity(expected, onnx_logits(path, IDS, 0), 1e-4) < 1e-4


@pytest.mark.parametrize("kind", ["cnn", "bilstm", "bag"])
@pytest.mark.parametrize("rows", [None, ROWS], ids=["whole", "pruned"])
def test_int8_says_what_torch_says_with_the_rounded_table(kind: StudentKind, rows: torch.Tensor | None, tmp_path: Path) -> None:
    """Rounded here by hand: the graph adds no error of its own."""
    student = random_student(kind, dimensions=64, rows=rows)
    path = converted(tmp_path, "int8", kind, rows)
    assert table(path).dtype == np.int8
    plain = student.embedding.table.float()
    scale = (plain.abs().amax(1, keepdim=True) / 127).half().float()
    rounded = (plain / scale).round().clamp(-127, 127) * scale
    assert (rounded - plain).abs().max() <= 0.51 * scale.max()
    student.embedding.table = torch.nn.Parameter(rounded, requires_grad=False)
    assert prove_parity(student_logits(student, IDS, 0), onnx_logits(path, IDS, 0), 1e-3) < 1e-3


def test_bytes_follow_the_type(tmp_path: Path) -> None:
    sizes = {precision: converted(tmp_path, precision).stat().st_size for precision in ("fp32", "fp16", "int8")}
    values = 300 * 64
    assert sizes["fp32"] - sizes["fp16"] == pytest.approx(2 * values, abs=200)
    assert sizes["fp16"] - sizes["int8"] == pytest.approx(values - 2 * 300, abs=700)  # two bytes a row for its scale


def test_a_row_of_zeros_stays_one(tmp_path: Path) -> None:
    student = random_student("bag")
    with torch.no_grad():
        student.embedding.table[7] = 0
    path = tmp_path / "zeros.onnx"
    export_onnx(student, path)
    convert_table(path, "int8")
    assert torch.isfinite(onnx_logits(path, [[7, 7], [7]], 0)).all()
    assert onnx_logits(path, [[7]], 0).numpy() == pytest.approx(student_logits(student, [[7]], 0).numpy(), abs=1e-5)


def test_too_little_agreement_is_refused() -> None:
    logits = torch.eye(4)
    assert prove_agreement(logits, logits * 2, 1.0) == 1
    with pytest.raises(ParityError, match=r"75.00 % of 4 texts.*fp16"):
        prove_agreement(logits, torch.eye(4)[[0, 1, 2, 2]], 0.99)
    with pytest.raises(ParityError):
        prove_agreement(logits, torch.full((4, 4), torch.nan), 0.0)
