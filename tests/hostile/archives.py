"""Bundles that are not what they seem: zips by hand, networks that ask for too much, tokenizers that never end."""

import hashlib
import io
import json
import zipfile
from collections.abc import Callable
from typing import Any

import numpy as np
from onnx import TensorProto, helper, numpy_helper

Files = dict[str, bytes]
Change = Callable[[Files], Files]
Entry = tuple[zipfile.ZipInfo | str, bytes]


def bundle(files: Files) -> Files:
    """The files, and a bundle.json with their hashes."""
    entries = {name: {"sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)} for name, data in files.items()}
    info = {"name": "hostile", "version": 1, "published_at": "2026-01-31T12:00:00Z", "data": None, "files": entries}
    return {**files, "bundle.json": json.dumps(info).encode()}


def zipped(entries: list[Entry], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", method) as archive:
        for name, data in entries:
            archive.writestr(name, data, compress_type=method)
    return content.getvalue()


def with_more(name: str, data: bytes = b"", **attributes: Any) -> Callable[[Files], bytes]:
    """The whole bundle, and one entry more, under exactly that name."""

    def made(files: Files) -> bytes:
        entry = zipfile.ZipInfo("placeholder")
        entry.filename = name  # the constructor would mend it
        for attribute, value in attributes.items():
            setattr(entry, attribute, value)
        return zipped([*bundle(files).items(), (entry, data)])

    return made


def changed(**contents: Any) -> Callable[[Files], bytes]:
    """The bundle with other files, by their names without ending: bytes, or changes of a JSON object."""
    names = {"onnx": "student.onnx", "tokenizer": "tokenizer.json", "manifest": "student.json"}

    def made(files: Files) -> bytes:
        own = dict(files)
        for name, value in contents.items():
            file = names[name]
            own[file] = value if isinstance(value, bytes) else json.dumps({**json.loads(own[file]), **value}).encode()
        return zipped(list(bundle(own).items()))

    return made


def network(nodes: list[Any], *constants: tuple[str, Any]) -> bytes:
    """`input_ids` (B, T) -> `logits` (B, 3), of the nodes given; their last one gives `logits`."""
    inputs = [helper.make_tensor_value_info("input_ids", TensorProto.INT64, ["B", "T"])]
    outputs = [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["B", 3])]
    tensors = [numpy_helper.from_array(np.asarray(value), name) for name, value in constants]
    graph = helper.make_graph(nodes, "student", inputs, outputs, tensors)
    found: bytes = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9).SerializeToString()
    return found


def outer_product(side: int) -> bytes:
    """Multiplies a column by a row: `side` squared numbers, of a file with twice `side`."""
    nodes = [
        helper.make_node("Gather", ["votes", "input_ids"], ["found"], axis=0),
        helper.make_node("ReduceSum", ["found", "one"], ["summed"], keepdims=0),
        helper.make_node("MatMul", ["column", "row"], ["large"]),
        helper.make_node("ReduceMax", ["large"], ["most"], keepdims=0),
        helper.make_node("Add", ["summed", "most"], ["logits"]),
    ]
    votes, long = np.zeros((5, 3), np.float32), np.ones((side, 1), np.float32)
    return network(nodes, ("votes", votes), ("one", np.array([1])), ("column", long), ("row", long.T.copy()))


def constant(count: int) -> bytes:
    """A tensor of `count` numbers, of a file that only says how many."""
    nodes = [
        helper.make_node("Gather", ["votes", "input_ids"], ["found"], axis=0),
        helper.make_node("ReduceSum", ["found", "one"], ["summed"], keepdims=0),
        helper.make_node("ConstantOfShape", ["count"], ["large"]),
        helper.make_node("ReduceMax", ["large"], ["most"], keepdims=0),
        helper.make_node("Add", ["summed", "most"], ["logits"]),
    ]
    return network(nodes, ("votes", np.zeros((5, 3), np.float32)), ("one", np.array([1])), ("count", np.array([count])))


def outside(path: str) -> bytes:
    """A tensor whose numbers lie in another file."""
    tensor = numpy_helper.from_array(np.zeros((5, 3), np.float32), "votes")
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value=path)
    nodes = [helper.make_node("Gather", ["votes", "input_ids"], ["logits"], axis=0)]
    inputs = [helper.make_tensor_value_info("input_ids", TensorProto.INT64, ["B", "T"])]
    outputs = [helper.make_tensor_value_info("logits", TensorProto.FLOAT, None)]
    graph = helper.make_graph(nodes, "student", inputs, outputs, [tensor])
    found: bytes = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9).SerializeToString()
    return found
