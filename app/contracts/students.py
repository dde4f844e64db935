"""The student catalogue: what a caller can ask for, and what the serving side relies on."""

from typing import Any

from pydantic import BaseModel, ConfigDict, Field, field_validator

from app.contracts.profile import Profile, unpack_bits

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


class SelectivePoint(BaseModel):
    """Selective classification (Geifman and El-Yaniv 2017): of the texts with a score of at least `threshold`, `precision` are right."""

    model_config = ConfigDict(frozen=True)

    precision: float = Field(description="What the threshold aims at.")
    threshold: float = Field(description="Least score that is answered; 0 answers everything.")
    coverage: float = Field(description="Share of the holdout that such a threshold answers, each row by one fitted on other rows.")
    holdout_precision: float | None = Field(description="Share of those answers that are right; null if there are none.")


class PrecisionEntry(BaseModel):
    """The measured student with a table of another type, beside torch in single precision."""

    model_config = ConfigDict(frozen=True)

    bytes: int = Field(description="ONNX and tokenizer file together.")
    accuracy_difference: float = Field(description="Accuracy on the holdout less torch's.")
    agreement: float = Field(description="Share of holdout and generated texts with the same label.")
    max_abs_logit_difference: float


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
    precision: str = Field("fp16", description="Of the embedding table in the file that ships.")
    precisions: dict[str, PrecisionEntry] = Field({}, description="What fp32, fp16 and int8 cost and keep.")
    temperature: float = Field(1.0, gt=0, description="The logits are divided by it before the softmax (Guo et al. 2017).")
    selective: list[SelectivePoint] = Field([], description="By rising precision; a precision that is out of reach is not listed.")
    scope_quantiles: dict[str, float] = Field(
        {}, description="Of `out_of_scope` on the holdout, by the share of its rows that lie below: `0.5`, `0.9`, `0.95`, `0.99`."
    )
    profile: Profile | None = Field(None, description="On the holdout: what live traffic is compared with.")
    unknown_pieces: str = Field("", description="Ids of the pieces that count as unknown, packed; empty for a student without a profile.")
    lineage: dict[str, Any] = Field(description="Hashes of the dataset, spec and upstream artefacts; package versions; seeds.")

    @field_validator("profile")
    @classmethod
    def _adds_up(cls, profile: Profile | None) -> Profile | None:
        if profile is not None and not profile.rows == sum(profile.scores) == sum(profile.labels.values()):
            raise ValueError("its labels and scores are not those of all rows")
        return profile

    @field_validator("unknown_pieces")
    @classmethod
    def _is_a_set_of_ids(cls, packed: str) -> str:
        unpack_bits(packed)
        return packed
