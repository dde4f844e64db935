"""The student catalogue: what a caller can ask for, and what the serving side relies on."""

from typing import Any

from pydantic import BaseModel, ConfigDict, Field

STUDENTS: dict[str, str] = {
    "cnn": "Convolutions over embeddings (Kim 2014), as in the paper; the default.",
    "bilstm": "Bidirectional LSTM with max pooling, as in the paper; the slowest to train and to serve.",
    "bag": "Attention-weighted bag of embeddings; the fastest.",
}

ONNX_FILE = "student.onnx"
TOKENIZER_FILE = "tokenizer.json"
STUDENT_MANIFEST_FILE = "student.json"
REPORT_FILE = "report.json"
ONNX_INPUT = "input_ids"
ONNX_OUTPUT = "logits"


class StudentManifest(BaseModel):
    """Ships beside the ONNX file. The one signature of all students: `input_ids` (B, T) int64, padded with `pad_id` -> `logits` (B, C)."""

    model_config = ConfigDict(frozen=True)

    kind: str
    labels: list[str] = Field(description="In the order of the logits.")
    max_tokens: int
    pad_id: int
    parameters: int
    bytes: int = Field(description="ONNX and tokenizer file together.")
    parity: dict[str, float] = Field(description="Torch against ONNX on the holdout: `max_abs_logit_difference`, `rows`.")
    metrics: dict[str, float]
    lineage: dict[str, Any] = Field(description="Hashes of the dataset, spec and upstream artefacts; package versions; seeds.")
