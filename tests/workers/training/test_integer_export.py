"""The convolutional student in integers, beside torch and beside sums made by hand."""

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper

from app.bundles.onnx_graph import check_graph
from tests.workers.students.samples import random_student
from tests.workers.training.test_onnx_export import IDS
from workers.students.base import Student
from workers.training.distillation import student_logits
from workers.training.integer_export import export_integers, quantize_kernel, quantize_table
from workers.training.onnx_export import onnx_logits
from workers.training.precision import export_student

ROWS = torch.cat([torch.arange(120), torch.arange(180) % 119 + 1])
"""Of 300 pieces those from 120 on share rows with others; padding, the first, has its own."""


def rounded(student: Student) -> Student:
    """The same student with its table and its filters at the nearest values that the integers have."""
    head, table = student.head, student.embedding.table.float().detach().numpy().copy()
    table[student.pad_id if student.rows is None else int(student.rows[student.pad_id])] = 0
    values, value_scale = quantize_table(table)
    student.embedding.table = torch.nn.Parameter(torch.from_numpy((values.astype(np.float32) - 128) * value_scale), requires_grad=False)
    weights, scale = quantize_kernel(head.kernel().detach().numpy(), value_scale)
    kernel = weights * scale / np.tile(value_scale, len(weights) // len(value_scale))[:, None]
    first = 0
    with torch.no_grad():
        for linear in head.filters:
            channels, reads = linear.weight.shape
            linear.weight.copy_(torch.from_numpy(kernel[:reads, first : first + channels].T.astype(np.float32)))
            first += channels
    return student


@pytest.mark.parametrize("rows", [None, ROWS], ids=["whole", "pruned"])
def test_integers_say_what_torch_says_with_rounded_weights(rows: torch.Tensor | None, tmp_path: Path) -> None:
    path = tmp_path / "student.onnx"
    export_integers(random_student("cnn", dimensions=36, rows=rows), path)
    expected = student_logits(rounded(random_student("cnn", dimensions=36, rows=rows)), IDS, 0)
    assert onnx_logits(path, IDS, 0).numpy() == pytest.approx(expected.numpy(), abs=1e-4)
    check_graph(path.read_bytes())


def test_rounding_changes_little(tmp_path: Path) -> None:
    student = random_student("cnn", dimensions=36)
    path = tmp_path / "student.onnx"
    export_student(student, path, "int8")
    expected = student_logits(student, IDS, 0)
    assert (onnx_logits(path, IDS, 0) - expected).abs().max() < 0.05 * expected.abs().max()
    types = {numpy_helper.to_array(tensor).dtype for tensor in onnx.load(path).graph.initializer if np.prod(tensor.dims) > 1000}
    assert types == {np.dtype(np.uint8), np.dtype(np.int8)}


def test_a_text_gets_the_same_logits_whatever_it_is_padded_with(tmp_path: Path) -> None:
    path = tmp_path / "student.onnx"
    export_integers(random_student("cnn", dimensions=36), path)
    alone = onnx_logits(path, [[7, 8, 9]], 0)
    beside = onnx_logits(path, [[7, 8, 9], list(range(1, 120))], 0)[:1]
    assert torch.equal(alone, beside)


def test_a_text_of_padding_alone_is_answered(tmp_path: Path) -> None:
    student = random_student("cnn", dimensions=36)
    path = tmp_path / "student.onnx"
    export_integers(student, path)
    assert onnx_logits(path, [[0]], 0).numpy() == pytest.approx(student_logits(student, [[0]], 0).numpy(), abs=1e-5)


def test_two_products_fit_into_sixteen_bits() -> None:
    rng = np.random.default_rng(0)
    table = rng.standard_normal((500, 36)).astype(np.float32) ** 3
    table[:, 5] = 0
    values, value_scale = quantize_table(table)
    kernel = rng.standard_normal((4 * 36, 20)).astype(np.float32) ** 3
    kernel[:, 3] = 0
    weights, scale = quantize_kernel(kernel, value_scale)
    assert 2 * 255 * np.abs(weights.astype(int)).max() < 2**15
    assert (np.abs((values.astype(int) - 128) * value_scale - table) <= 0.51 * value_scale).all()
    assert (np.abs(weights * scale - kernel * np.tile(value_scale, 4)[:, None]) <= 0.51 * scale).all()
    assert not weights[:, 3].any()


def test_other_students_have_no_integer_form(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="BagHead"):
        export_integers(random_student("bag"), tmp_path / "student.onnx")
    assert not list(tmp_path.iterdir())
