"""The type of the embedding table, which is nearly all of a student's file: fp32, fp16 or int8.

The rest stays in single precision, but for a convolutional student in int8, whose filters are integers too.
"""

from pathlib import Path

import numpy as np
import onnx
from onnx import helper, numpy_helper

from app.contracts.spec import TablePrecision
from workers.students.base import Student
from workers.students.cnn import CnnHead
from workers.training.integer_export import TABLE, export_integers
from workers.training.onnx_export import export_onnx

_SCALE = "embedding.scale"


def has_integer_form(student: Student) -> bool:
    """Whether int8 is faster than fp16, and not only smaller."""
    return isinstance(student.head, CnnHead)


def best_precision(student: Student) -> TablePrecision:
    """What ships if it costs nothing."""
    return "int8" if has_integer_form(student) else "fp16"


def export_student(student: Student, path: Path, precision: TablePrecision) -> None:
    """Writes the file that ships."""
    if precision == "int8" and has_integer_form(student):
        export_integers(student, path)
    else:
        export_onnx(student, path)
        convert_table(path, precision)


def convert_table(path: Path, precision: TablePrecision) -> None:
    """Rewrites the file of a student as `export_onnx` leaves it, with an fp16 table, in place.

    int8 is symmetric with one scale a row: value = scale * q, |q| <= 127. The values are multiplied out after the lookup, for the pieces of
    the text alone, so any onnxruntime computes the same.
    """
    if precision == "fp16":
        return
    model = onnx.load(path)
    graph = model.graph
    stored = next(tensor for tensor in graph.initializer if tensor.name == TABLE)
    table = numpy_helper.to_array(stored).astype(np.float32)  # (V, D)
    gather = next(node for node in graph.node if TABLE in node.input)
    place, cast = next((place, node) for place, node in enumerate(graph.node) if gather.output[0] in node.input)
    if precision == "fp32":
        stored.CopyFrom(numpy_helper.from_array(table, TABLE))
        gather.output[0] = cast.output[0]
        graph.node.remove(cast)
    else:
        # Rounded to half first, so that the values are the nearest to what will be multiplied; a row of zeros has any scale.
        scale = np.maximum(np.abs(table).max(1, keepdims=True) / 127, np.finfo(np.float16).tiny).astype(np.float16)
        whole = np.clip(np.rint(table / scale.astype(np.float32)), -127, 127).astype(np.int8)
        stored.CopyFrom(numpy_helper.from_array(whole, TABLE))
        graph.initializer.append(numpy_helper.from_array(scale, _SCALE))
        values, found = cast.output[0], [f"{_SCALE}.{step}" for step in ("whole", "half", "single")]
        cast.output[0] = found[0]
        nodes = [
            helper.make_node("Gather", [_SCALE, gather.input[1]], [found[1]]),
            helper.make_node("Cast", [found[1]], [found[2]], to=onnx.TensorProto.FLOAT),
            helper.make_node("Mul", [found[0], found[2]], [values]),
        ]
        for offset, node in enumerate(nodes, start=1):
            graph.node.insert(place + offset, node)
    onnx.checker.check_model(model)
    onnx.save(model, path)
