"""What an ONNX file from elsewhere may hold, told from its bytes before it is loaded.

A student is plain arithmetic on the tensors in the file. So what reaches outside (external data), what runs other code (operators and
functions of one's own) and what may never end (graphs inside of nodes: Loop, If, Scan) is refused. The fields are those of
https://github.com/onnx/onnx/blob/main/onnx/onnx.proto.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

MAX_FIELDS = 500_000
"""An exported student has a few thousand."""
_STANDARD = {b"", b"ai.onnx"}


class ForbiddenGraph(ValueError):
    """The file is no ONNX model, or one that a student may not be."""


@dataclass(frozen=True)
class _Message:
    """Fields by number: messages to look into, and those that may not be there."""

    name: str
    inside: "dict[int, _Message]" = field(default_factory=dict)
    forbidden: dict[int, str] = field(default_factory=dict)


_TENSOR = _Message("TensorProto", forbidden={13: "external data", 14: "external data"})
_ATTRIBUTE = _Message(
    "AttributeProto",
    inside={5: _TENSOR, 10: _TENSOR},
    forbidden={6: "a graph inside a node", 11: "a graph inside a node", 22: "sparse tensors", 23: "sparse tensors"},
)
_NODE = _Message("NodeProto", inside={5: _ATTRIBUTE})
_GRAPH = _Message("GraphProto", inside={1: _NODE, 5: _TENSOR}, forbidden={15: "sparse tensors"})
_MODEL = _Message("ModelProto", inside={7: _GRAPH}, forbidden={20: "training information", 25: "functions of its own"})
_DOMAIN = 7


def check_graph(content: bytes) -> None:
    """Raises `ForbiddenGraph`."""
    left = MAX_FIELDS

    def look(message: _Message, data: memoryview) -> None:
        nonlocal left
        for number, value in _fields(data):
            left -= 1
            if left < 0:
                raise ForbiddenGraph(f"it has more than {MAX_FIELDS} fields")
            if number in message.forbidden and value != 0:  # 0: that the data is not external
                raise ForbiddenGraph(f"it holds {message.forbidden[number]}")
            if message is _NODE and number == _DOMAIN and (isinstance(value, int) or bytes(value) not in _STANDARD):
                raise ForbiddenGraph("it has an operator that is not one of ONNX's own")
            if number in message.inside:
                if isinstance(value, int):
                    raise ForbiddenGraph("it is no ONNX model")
                look(message.inside[number], value)

    look(_MODEL, memoryview(content))


def _fields(data: memoryview) -> Iterator[tuple[int, int | memoryview]]:
    """Number and value of each field: https://protobuf.dev/programming-guides/encoding."""
    offset = 0
    while offset < len(data):
        key, offset = _varint(data, offset)
        kind = key & 7
        if kind == 0:
            value, offset = _varint(data, offset)
            yield key >> 3, value
            continue
        if kind == 2:
            size, offset = _varint(data, offset)
        elif kind in (1, 5):
            size = 8 if kind == 1 else 4
        else:
            raise ForbiddenGraph("it is no protocol buffer")
        if offset + size > len(data):
            raise ForbiddenGraph("it is cut off")
        yield key >> 3, data[offset : offset + size]
        offset += size


def _varint(data: memoryview, offset: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        if offset >= len(data):
            raise ForbiddenGraph("it is cut off")
        byte = data[offset]
        offset += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, offset
    raise ForbiddenGraph("it is no protocol buffer")
