"""Tensors of the Open Inference Protocol: texts in, labels and scores out, as JSON or in the binary extension's form.

In that form (https://github.com/triton-inference-server/server/blob/main/docs/protocol/extension_binary_data.md) the tensors follow the
JSON in the order in which it names them. BYTES elements each have their length before them, as four bytes, little-endian.
"""

import struct
from collections.abc import Sequence
from itertools import chain
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from app.protocols.errors import invalid

TEXT = "text"
BINARY_SIZE = "binary_data_size"
_LENGTH = struct.Struct("<I")
_EXAMPLE = '{"name": "text", "shape": [1], "datatype": "BYTES", "data": ["my card was stolen"]}'
Datatype = Literal["BYTES", "FP32"]


class InputTensor(BaseModel):
    """The texts: `text`, BYTES, of the shape [N] or [N, 1]."""

    model_config = ConfigDict(strict=True)

    name: str = Field(examples=[TEXT])
    shape: list[int] = Field(examples=[[1]])
    datatype: str = Field(examples=["BYTES"])
    parameters: dict[str, Any] = Field({}, description=f"`{BINARY_SIZE}` in the binary extension.")
    data: list[Any] | None = Field(None, examples=[["my card was stolen"]], description="Flat or nested; absent if it is binary.")


class OutputTensor(BaseModel):
    name: str
    shape: list[int]
    datatype: Datatype
    parameters: dict[str, Any] | None = None
    data: list[Any] | None = Field(None, description="Flat, in row-major order; absent if it is binary.")


def read_texts(inputs: Sequence[InputTensor], binary: bytes) -> list[str]:
    """The texts of the one input. `binary`: what followed the JSON. Raises `ServiceError` 422."""
    if [tensor.name for tensor in inputs] != [TEXT] or inputs[0].datatype != "BYTES":
        given = ", ".join(f"{tensor.name[:60]!r} ({tensor.datatype[:20]})" for tensor in inputs[:5]) or "none"
        raise invalid(f"A student has one input, 'text' (BYTES); given: {given}.", f"Send {_EXAMPLE}.")
    (tensor,) = inputs
    if len(tensor.shape) not in (1, 2) or tensor.shape[0] < 0 or tensor.shape[1:] not in ([], [1]):
        raise invalid(f"The shape of 'text' is [N] or [N, 1], not {tensor.shape[:5]}.", f"Send {_EXAMPLE}.")
    size = tensor.parameters.get(BINARY_SIZE)
    if size is None and binary:
        raise invalid(f"{len(binary)} bytes follow the JSON, and no input claims them.", f"Name them: {BINARY_SIZE}.")
    if size is not None and (isinstance(size, bool) or size != len(binary) or tensor.data is not None):
        what = (
            "has both `data` and binary data"
            if tensor.data is not None
            else f"claims {str(size)[:20]} bytes; {len(binary)} follow the JSON"
        )
        raise invalid(f"The input 'text' {what}.", "Send the one or the other, in full.")
    texts = _of_json(tensor.data) if size is None else _of_bytes(binary)
    if len(texts) != tensor.shape[0]:
        raise invalid(f"The shape of 'text' says {tensor.shape[0]} texts; there are {len(texts)}.", "Send as many as the shape says.")
    return texts


def _of_json(data: list[Any] | None) -> list[str]:
    flat = list(chain.from_iterable(item if isinstance(item, list) else (item,) for item in data or ()))
    if not all(isinstance(item, str) for item in flat):
        raise invalid("The `data` of 'text' must be strings.", f"Send {_EXAMPLE}.")
    return flat


def _of_bytes(binary: bytes) -> list[str]:
    texts: list[str] = []
    offset = 0
    while offset < len(binary):
        start = offset + _LENGTH.size
        end = start + _LENGTH.unpack_from(binary, offset)[0] if start <= len(binary) else start
        if end > len(binary):
            raise invalid(
                f"Element {len(texts)} of 'text' goes past its end.", "Put each element's length before it: 4 bytes, little-endian."
            )
        try:
            texts.append(binary[start:end].decode())
        except UnicodeDecodeError:
            raise invalid(f"Element {len(texts)} of 'text' is not UTF-8.", "Encode texts as UTF-8.") from None
        offset = end
    return texts


def written(name: str, shape: list[int], values: list[str] | NDArray[np.float32], binary: bool) -> tuple[OutputTensor, bytes]:
    """The tensor, and its bytes if it is to be binary."""
    datatype: Datatype = "BYTES" if isinstance(values, list) else "FP32"
    if not binary:
        data = values if isinstance(values, list) else values.ravel().tolist()
        return OutputTensor(name=name, shape=shape, datatype=datatype, data=data), b""
    if isinstance(values, list):
        encoded = [value.encode() for value in values]
        content = b"".join(part for value in encoded for part in (_LENGTH.pack(len(value)), value))
    else:
        content = values.astype("<f4").tobytes()
    return OutputTensor(name=name, shape=shape, datatype=datatype, parameters={BINARY_SIZE: len(content)}), content
