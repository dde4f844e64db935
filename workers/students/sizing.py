"""How many pieces, how wide and of which type: what a limit in parameters, and one in bytes, leave of the table."""

from dataclasses import dataclass

import torch

from app.contracts.spec import DistilSpec, SpecError, TablePrecision
from workers.students.base import StudentArchitecture, parameter_count, widest
from workers.students.vocabulary import room_within

_GRAPH_BYTES = 20_000
_NARROWEST = 16
_PRUNED_WIDTH = 32
_FEWEST_PIECES = 1000
_VALUE_BYTES: dict[TablePrecision, int] = {"fp32": 4, "fp16": 2, "int8": 1}
_SCALE_BYTES = 2
_ROW_BYTES = 8


@dataclass(frozen=True)
class Plan:
    """`room`: rows of the table, at most. `max_parameters` leads to the width that was planned."""

    room: int
    max_parameters: int
    precision: TablePrecision


@dataclass(frozen=True)
class _Sizes:
    """Of students of one architecture and number of classes, for a tokenizer of `pieces`."""

    architecture: StudentArchitecture
    classes: int
    pieces: int

    def parameters(self, rows: int, width: int) -> int:
        return rows * (width + self.architecture.weighted) + self.head(width)

    def head(self, width: int) -> int:
        with torch.device("meta"):
            return parameter_count(self.architecture.head(width, self.classes, 0.0))

    def bytes(self, rows: int, width: int, precision: TablePrecision) -> int:
        """Of the ONNX file, or a little more."""
        values = rows * (width + self.architecture.weighted) * _VALUE_BYTES[precision]
        scales = rows * _SCALE_BYTES if precision == "int8" else 0
        return values + scales + 4 * self.head(width) + (_ROW_BYTES * self.pieces if rows < self.pieces else 0) + _GRAPH_BYTES


def plan_student(
    architecture: StudentArchitecture, pieces: int, classes: int, at_most: int, spec: DistilSpec, tokenizer_bytes: int
) -> Plan:
    """As wide as `max_parameters` allows if that fits into `max_bytes` in half precision, or else in int8; else narrower; else with the
    most frequent pieces alone.

    int8 comes before narrowing: it costs next to nothing, a column of the table much more. Raises `SpecError` if nothing fits.
    """
    room = min(pieces, room_within(spec.max_parameters))
    if spec.max_bytes is None:
        return Plan(room, spec.max_parameters, "fp16")
    sizes, left = _Sizes(architecture, classes, pieces), spec.max_bytes - tokenizer_bytes
    wished = widest(architecture, room, classes, spec.max_parameters, at_most)
    if sizes.bytes(room, wished, "fp16") <= left:
        return Plan(room, sizes.parameters(room, wished), "fp16")
    for width in range(wished, min(wished, _NARROWEST) - 1, -1):
        if sizes.bytes(room, width, "int8") <= left:
            return Plan(room, sizes.parameters(room, width), "int8")
    width = min(wished, _PRUNED_WIDTH)
    fixed = sizes.bytes(0, width, "int8")
    fewer = min(room, (left - fixed) // (width + architecture.weighted + _SCALE_BYTES))
    if fewer >= min(room, _FEWEST_PIECES):
        return Plan(fewer, sizes.parameters(fewer, width), "int8")
    least = tokenizer_bytes + sizes.bytes(min(room, _FEWEST_PIECES), width, "int8")
    raise SpecError(
        f"No {architecture.kind} student with {classes} classes fits into {spec.max_bytes:,} bytes: the smallest takes {least:,}, "
        f"{tokenizer_bytes:,} of them its tokenizer. Raise spec.distil.max_bytes."
    )
