"""A convolutional student in integers: the table, the filters and every product of theirs.

After Jacob et al. 2018 (arXiv 1712.05877): real = scale * (integer - zero point). The table has one scale a column, which goes into the
filters; the filters have one scale a channel, which commutes with the maximum over time. So between the lookup and the maximum there
are integers alone, and their sums are exact in any order and on any machine.
"""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from app.contracts.students import ONNX_INPUT, ONNX_OUTPUT
from workers.students.base import Student
from workers.students.cnn import CnnHead
from workers.students.embedding import PlainEmbedding

TABLE = "embedding.table"
_OPSET = 18
_IR_VERSION = 9
_ZERO = 128
_LARGEST_VALUE = 127
_LARGEST_WEIGHT = 64
"""Two products of 255 and 64 fit into the 16 bits in which processors without VNNI add them, so that the sums are the same everywhere."""

Matrix = NDArray[np.float32]


def export_integers(student: Student, path: Path) -> None:
    """Writes the file of a student that `load_student` gave, with the signature of `export_onnx`. Raises `TypeError` if it is no `cnn`."""
    head, embedding = student.head, student.embedding
    if not isinstance(head, CnnHead) or not isinstance(embedding, PlainEmbedding):
        raise TypeError(f"{type(embedding).__name__} and {type(head).__name__} have no integer form")
    table = _array(embedding.table.float()).copy()
    kernel = _array(head.kernel())
    rows = None if student.rows is None else student.rows.numpy().copy()
    # Padding adds nothing, to a sum or to a product, so nothing has to be masked.
    if rows is None:
        table[student.pad_id] = 0
    else:
        rows[student.pad_id] = len(table)
        table = np.concatenate([table, np.zeros_like(table[:1])])
    values, value_scale = quantize_table(table)
    weights, weight_scale = quantize_kernel(kernel, value_scale)

    graph = _Graph()
    ids = graph.add("Gather", graph.constant(rows), ONNX_INPUT) if rows is not None else ONNX_INPUT
    vectors = graph.add("Gather", graph.constant(values, TABLE), ids)  # (B, T, D)
    top = _top(graph, vectors, weights, len(kernel) // head.dimensions, weight_scale, _array(head.biases()))
    mean = _mean(graph, vectors, value_scale, student.pad_id)
    norm, out = head.norm, head.out
    mean = graph.add(
        "LayerNormalization", mean, graph.constant(_array(norm.weight)), graph.constant(_array(norm.bias)), axis=-1, epsilon=norm.eps
    )
    both = graph.add("Concat", top, mean, axis=1)
    graph.add("Gemm", both, graph.constant(_array(out.weight)), graph.constant(_array(out.bias)), transB=1, to_name=ONNX_OUTPUT)
    graph.save(path, len(out.bias))


def quantize_table(table: Matrix) -> tuple[NDArray[np.uint8], Matrix]:
    """(V, D) -> its integers (V, D), of which 128 stands for zero, and their scale (D,)."""
    scale = np.maximum(np.abs(table).max(0) / _LARGEST_VALUE, np.finfo(np.float32).tiny).astype(np.float32)
    return (np.rint(table / scale) + _ZERO).astype(np.uint8), scale


def quantize_kernel(kernel: Matrix, value_scale: Matrix) -> tuple[NDArray[np.int8], Matrix]:
    """(width * D, channels), for vectors of this scale (D,) -> its integers, and the scale (channels,) of their sums."""
    scaled = kernel * np.tile(value_scale, len(kernel) // len(value_scale))[:, None]
    scale = np.maximum(np.abs(scaled).max(0) / _LARGEST_WEIGHT, np.finfo(np.float32).tiny).astype(np.float32)
    return np.rint(scaled / scale).astype(np.int8), scale


def _top(graph: "_Graph", vectors: str, weights: NDArray[np.int8], width: int, scale: Matrix, bias: Matrix) -> str:
    """relu(max over time of the convolutions), (B, channels), over windows laid out as by `workers.students.cnn.windows`."""
    zero, time = graph.constant(np.uint8(_ZERO)), graph.whole(1)
    padded = graph.add("Pad", vectors, graph.whole(0, width, 0, 0, 2 * width - 1, 0), zero)
    tokens = graph.add("Shape", vectors, start=1, end=2)
    count = graph.add("Div", graph.add("Add", tokens, graph.whole(2 * width - 1)), graph.whole(width))
    span = graph.add("Mul", count, graph.whole(width))
    kernel, windows = graph.constant(weights), graph.whole(0, -1, len(weights))
    tops = []
    for start in range(width):
        end = graph.add("Add", span, graph.whole(start)) if start else span
        part = graph.add("Reshape", graph.add("Slice", padded, graph.whole(start), end, time), windows)
        tops.append(graph.add("ReduceMax", graph.add("MatMulInteger", part, kernel, zero), time, keepdims=0))
    top = graph.add("Cast", graph.add("Max", *tops), to=TensorProto.FLOAT)
    scaled = graph.add("Mul", top, graph.constant(scale))
    return graph.add("Relu", graph.add("Add", scaled, graph.constant(bias)))


def _mean(graph: "_Graph", vectors: str, scale: Matrix, pad_id: int) -> str:
    """Of the vectors of a text's own pieces, (B, D)."""
    time = graph.whole(1)
    whole = graph.add("DequantizeLinear", vectors, graph.constant(np.float32(1)), graph.constant(np.uint8(_ZERO)))
    total = graph.add("ReduceSum", whole, time, keepdims=0)
    own = graph.add("Cast", graph.add("Not", graph.add("Equal", ONNX_INPUT, graph.constant(np.int64(pad_id)))), to=TensorProto.FLOAT)
    count = graph.add("Max", graph.add("ReduceSum", own, time, keepdims=1), graph.constant(np.float32(1)))
    return graph.add("Mul", graph.add("Div", total, count), graph.constant(scale))


class _Graph:
    """Nodes in the order in which they are added; each gives one value, whose name is returned."""

    def __init__(self) -> None:
        self._nodes: list[onnx.NodeProto] = []
        self._constants: list[onnx.TensorProto] = []

    def add(self, operator: str, *inputs: str, to_name: str | None = None, **attributes: Any) -> str:
        name = to_name or f"{operator}_{len(self._nodes)}"
        self._nodes.append(helper.make_node(operator, inputs, [name], **attributes))
        return name

    def constant(self, value: NDArray[np.generic] | np.generic, name: str | None = None) -> str:
        name = name or f"constant_{len(self._constants)}"
        self._constants.append(numpy_helper.from_array(np.asarray(value), name))
        return name

    def whole(self, *numbers: int) -> str:
        """(n,) int64."""
        return self.constant(np.array(numbers, np.int64))

    def save(self, path: Path, classes: int) -> None:
        ids = helper.make_tensor_value_info(ONNX_INPUT, TensorProto.INT64, ["batch", "tokens"])
        logits = helper.make_tensor_value_info(ONNX_OUTPUT, TensorProto.FLOAT, ["batch", classes])
        graph = helper.make_graph(self._nodes, "student", [ids], [logits], self._constants)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", _OPSET)], ir_version=_IR_VERSION)
        onnx.checker.check_model(model)
        onnx.save(model, path)


def _array(parameter: torch.Tensor) -> Matrix:
    array: Matrix = parameter.detach().numpy()
    return array
