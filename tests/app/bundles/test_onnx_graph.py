"""Which ONNX files may be loaded: those that torch exports, and none that reach outside or run more than arithmetic."""

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from app.bundles import onnx_graph
from app.bundles.onnx_graph import ForbiddenGraph, check_graph
from app.contracts.spec import StudentKind
from tests.app.predictions.conftest import onnx_model
from tests.workers.students.samples import random_student
from workers.training.onnx_export import export_onnx


def model() -> onnx.ModelProto:
    return onnx.load_from_string(onnx_model())


@pytest.mark.parametrize("kind", ["bag", "cnn", "bilstm"])
def test_students_pass(kind: StudentKind, tmp_path: Path) -> None:
    export_onnx(random_student(kind), tmp_path / "student.onnx")
    check_graph((tmp_path / "student.onnx").read_bytes())


def external(changed: onnx.ModelProto) -> None:
    tensor = changed.graph.initializer[0]
    onnx.external_data_helper.set_external_data(tensor, location="../../../etc/passwd")
    tensor.ClearField("raw_data")


def external_in_an_attribute(changed: onnx.ModelProto) -> None:
    constant = helper.make_node("Constant", [], ["other"], value=numpy_helper.from_array(np.ones(3, np.float32)))
    onnx.external_data_helper.set_external_data(constant.attribute[0].t, location="tokenizer.json")
    changed.graph.node.append(constant)


def custom_operator(changed: onnx.ModelProto) -> None:
    changed.graph.node[0].domain = "com.example"


def loop(changed: onnx.ModelProto) -> None:
    body = helper.make_graph([], "body", [], [])
    changed.graph.node.append(helper.make_node("Loop", ["", ""], ["other"], body=body))


def own_function(changed: onnx.ModelProto) -> None:
    changed.functions.append(helper.make_function("own", "Own", ["x"], ["y"], [], [helper.make_opsetid("", 17)]))


def sparse(changed: onnx.ModelProto) -> None:
    values, indices = (numpy_helper.from_array(np.array([1], kind)) for kind in (np.float32, np.int64))
    values.name = "sparse"
    changed.graph.sparse_initializer.append(helper.make_sparse_tensor(values, indices, [3]))


@pytest.mark.parametrize(
    ("change", "what"),
    [
        (external, "external data"),
        (external_in_an_attribute, "external data"),
        (custom_operator, "not one of ONNX's own"),
        (loop, "a graph inside a node"),
        (own_function, "functions of its own"),
        (sparse, "sparse tensors"),
    ],
)
def test_what_reaches_further_is_refused(change: Callable[[onnx.ModelProto], None], what: str) -> None:
    changed = model()
    check_graph(changed.SerializeToString())
    change(changed)
    with pytest.raises(ForbiddenGraph, match=what):
        check_graph(changed.SerializeToString())


def test_the_default_data_location_may_be_spelt_out() -> None:
    changed = model()
    changed.graph.initializer[0].data_location = TensorProto.DEFAULT
    check_graph(changed.SerializeToString())


def test_too_many_fields_are_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onnx_graph, "MAX_FIELDS", 10)
    with pytest.raises(ForbiddenGraph, match="more than 10 fields"):
        check_graph(onnx_model())


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(content: bytes) -> None:
    """Only the walk is meant: bytes may pass that are no model, and onnxruntime refuses them."""
    with suppress(ForbiddenGraph):
        check_graph(content)


@given(st.data())
def test_a_model_that_is_cut_off_is_refused_or_well_formed(data: st.DataObject) -> None:
    """Well formed where one field of the model ends, and just the rest is missing."""
    content = onnx_model()
    length = data.draw(st.integers(1, len(content) - 1))
    with suppress(ForbiddenGraph):
        check_graph(content[:length])
        onnx.ModelProto().ParseFromString(content[:length])
