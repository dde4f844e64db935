"""The export says what torch says, and what differs is refused."""

from pathlib import Path

import onnx
import pytest
import torch
from onnx import numpy_helper

from app.contracts.spec import StudentKind
from app.contracts.students import ONNX_INPUT, ONNX_OUTPUT
from tests.workers.students.samples import random_student
from workers.training.distillation import student_logits
from workers.training.onnx_export import ParityError, export_onnx, onnx_logits, prove_parity

IDS = [[5, 6, 7], [0], [9], list(range(1, 40)), [299, 298], [5, 6, 7, 8, 9, 10]]


@pytest.fixture(scope="module")
def bag(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("onnx") / "bag.onnx"
    export_onnx(random_student("bag"), path)
    return path


@pytest.mark.parametrize("kind", ["cnn", "bilstm", "bag"])
def test_the_export_agrees_each_time(kind: StudentKind, tmp_path: Path) -> None:
    """A worker exports students all day: an exporter that keeps something from the time before must not be noticed."""
    student = random_student(kind)
    path = tmp_path / "student.onnx"
    for _ in range(3):
        export_onnx(student, path)
        for size in (1, 4, 6):
            assert prove_parity(student_logits(student, IDS, 0), onnx_logits(path, IDS, 0, size), 1e-4) < 1e-4


def test_the_export_of_a_pruned_student_agrees(tmp_path: Path) -> None:
    student = random_student("bag", rows=torch.arange(300) % 120)
    path = tmp_path / "student.onnx"
    export_onnx(student, path)
    assert prove_parity(student_logits(student, IDS, 0), onnx_logits(path, IDS, 0), 1e-4) < 1e-4


def test_the_signature_is_that_of_all_students(bag: Path) -> None:
    model = onnx.load(bag)
    onnx.checker.check_model(model)
    (given,), (answer,) = model.graph.input, model.graph.output
    assert (given.name, answer.name) == (ONNX_INPUT, ONNX_OUTPUT)
    assert given.type.tensor_type.elem_type == onnx.TensorProto.INT64
    assert answer.type.tensor_type.elem_type == onnx.TensorProto.FLOAT
    assert [dimension.dim_param != "" for dimension in given.type.tensor_type.shape.dim] == [True, True]
    # The table is most of the file: half precision, and nothing beside the file.
    assert any(len(weight.dims) == 2 and weight.data_type == onnx.TensorProto.FLOAT16 for weight in model.graph.initializer)
    assert [file.name for file in bag.parent.iterdir()] == [bag.name]


def test_the_batch_changes_no_answer(bag: Path) -> None:
    assert torch.allclose(onnx_logits(bag, IDS, 0, batch_size=1), onnx_logits(bag, IDS, 0, batch_size=6), atol=1e-5)
    assert prove_parity(student_logits(random_student("bag"), IDS, 0), onnx_logits(bag, IDS, 0), 1e-4) < 1e-4


def test_a_changed_weight_is_refused(bag: Path, tmp_path: Path) -> None:
    model = onnx.load(bag)
    weight = next(weight for weight in model.graph.initializer if list(weight.dims) == [3])  # the last layer's bias
    changed = numpy_helper.to_array(weight).copy()
    changed[0] += 0.01
    weight.CopyFrom(numpy_helper.from_array(changed, weight.name))
    onnx.save(model, tmp_path / "changed.onnx")
    with pytest.raises(ParityError, match=r"1\.00e-02 in a logit.*not published"):
        prove_parity(student_logits(random_student("bag"), IDS, 0), onnx_logits(tmp_path / "changed.onnx", IDS, 0), 1e-3)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 1.002])
def test_other_logits_are_refused(value: float) -> None:
    logits = torch.tensor([[1.0, 2.0], [4.0, 3.0]])
    other = logits.clone()
    other[0, 0] = value
    with pytest.raises(ParityError):
        prove_parity(logits, other, 1e-3)


def test_another_label_is_refused_however_close_the_logits() -> None:
    logits, other = torch.tensor([[1.0, 1.0001]]), torch.tensor([[1.0001, 1.0]])
    with pytest.raises(ParityError, match="in 1 of 1 labels"):
        prove_parity(logits, other, 1e-3)


def test_the_largest_difference_is_told() -> None:
    logits = torch.tensor([[1.0, 2.0], [4.0, 3.0]])
    assert prove_parity(logits, logits + torch.tensor([[0.0, 5e-4], [0.0, 0.0]]), 1e-3) == pytest.approx(5e-4, rel=1e-2)
