"""A student as a model of the Open Inference Protocol v2 (https://github.com/kserve/open-inference-protocol), the REST part of it."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from app.datasets.uploads import decode_json
from app.predictions.schemas import Prediction
from app.protocols.errors import invalid, invalid_fields
from app.protocols.predictor import Classified, Published
from app.protocols.tensors import TEXT, Datatype, InputTensor, OutputTensor, read_texts, written

LABEL, SCORE, SCORES = "label", "score", "scores"
OUTPUTS = (LABEL, SCORE, SCORES)


class OutputRequest(BaseModel):
    name: str = Field(examples=[LABEL])
    parameters: dict[str, Any] = Field({}, description="`binary_data`: this output in binary form.")


class InferRequest(BaseModel):
    id: str | None = Field(None, max_length=200, description="Comes back in the answer.")
    parameters: dict[str, Any] = Field({}, description="`binary_data_output`: all outputs in binary form.")
    inputs: list[InputTensor]
    outputs: list[OutputRequest] | None = Field(None, description="`label`, `score` and `scores`; all of them, if it is left out.")


class InferResponse(BaseModel):
    """`label` (BYTES) and `score` (FP32) have the shape of the input; `scores` (FP32) is [N, C], in the order of the model's labels."""

    model_config = ConfigDict(protected_namespaces=())

    model_name: str
    model_version: str
    id: str | None = None
    outputs: list[OutputTensor]


class TensorMetadata(BaseModel):
    name: str
    datatype: Datatype
    shape: list[int] = Field(description="-1: any size.")
    parameters: dict[str, Any] | None = Field(None, description="Of `scores`: `labels`, what its columns are.")


class ModelMetadata(BaseModel):
    name: str
    versions: list[str]
    platform: str = "onnxruntime_onnx"
    inputs: list[TensorMetadata]
    outputs: list[TensorMetadata]


class Query(BaseModel):
    """A request that has been checked. `binary`: the outputs that are wanted, and whether each in binary form."""

    id: str | None
    texts: list[str]
    shape: list[int]
    binary: dict[str, bool]


def metadata(student: Published) -> ModelMetadata:
    outputs = [
        TensorMetadata(name=LABEL, datatype="BYTES", shape=[-1]),
        TensorMetadata(name=SCORE, datatype="FP32", shape=[-1]),
        TensorMetadata(name=SCORES, datatype="FP32", shape=[-1, len(student.labels)], parameters={"labels": student.labels}),
    ]
    versions = [str(version) for version in student.versions]
    return ModelMetadata(
        name=student.name, versions=versions, inputs=[TensorMetadata(name=TEXT, datatype="BYTES", shape=[-1])], outputs=outputs
    )


def read_query(body: bytes, json_length: str | None) -> Query:
    """`json_length`: the header `Inference-Header-Content-Length`, where tensors follow the JSON. Raises `ServiceError` 400 or 422."""
    end = len(body)
    if json_length is not None:
        if not (json_length.isascii() and json_length.isdigit() and int(json_length[:20]) <= len(body)):
            detail = f"Inference-Header-Content-Length is {json_length[:20]!r}; the body has {len(body)} bytes."
            raise invalid(detail, "Send the length of the JSON part.")
        end = int(json_length)
    try:
        request = InferRequest.model_validate(decode_json(body[:end]))
    except ValidationError as error:
        raise invalid_fields(error, "See https://github.com/kserve/open-inference-protocol for the fields.") from None
    default = request.parameters.get("binary_data_output") is True
    binary: dict[str, bool] = {}
    for output in [OutputRequest(name=name) for name in OUTPUTS] if request.outputs is None else request.outputs:
        if output.name not in OUTPUTS or output.name in binary:
            fault = "is asked for twice" if output.name in binary else "is none"
            raise invalid(f"The output {output.name[:60]!r} {fault}.", f"The outputs are {', '.join(OUTPUTS)}.")
        if "classification" in output.parameters:
            raise invalid("The classification extension is not offered.", f"The labels' scores are in the output {SCORES!r}.")
        binary[output.name] = output.parameters.get("binary_data", default) is True
    return Query(id=request.id, texts=read_texts(request.inputs, body[end:]), shape=request.inputs[0].shape, binary=binary)


def answer(query: Query, found: Classified) -> tuple[bytes, int | None]:
    """The body, and the length of its JSON part if tensors follow it."""
    predictions = found.predictions
    tensors = []
    for name, binary in query.binary.items():
        if name == LABEL:
            tensors.append(written(name, query.shape, [prediction.label for prediction in predictions], binary))
        elif name == SCORE:
            scores = np.array([prediction.score for prediction in predictions], np.float32)
            tensors.append(written(name, query.shape, scores, binary))
        else:
            tensors.append(written(name, [len(predictions), len(found.labels)], _matrix(found.labels, predictions), binary))
    response = InferResponse(
        model_name=found.name, model_version=str(found.version), id=query.id, outputs=[tensor for tensor, _ in tensors]
    )
    head = response.model_dump_json(exclude_none=True).encode()
    return head + b"".join(content for _, content in tensors), len(head) if any(query.binary.values()) else None


def _matrix(labels: list[str], predictions: Sequence[Prediction]) -> NDArray[np.float32]:
    column = {label: index for index, label in enumerate(labels)}
    matrix = np.empty((len(predictions), len(labels)), np.float32)
    for row, prediction in zip(matrix, predictions, strict=True):
        for score in prediction.scores:
            row[column[score.label]] = score.score
    return matrix
