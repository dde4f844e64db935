"""The job spec: every number that decides what a distillation job does.

A preset is a complete `JobSpec` (see `presets.py`). A caller overrides any field; an unknown field or a value out of range is an
error, never ignored. The parts are split by stage, so that a stage's artefact key hashes only what that stage reads.
"""

import math
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

Precision = Literal["auto", "bf16", "fp32"]
FinetuneMethod = Literal["lora", "full"]
HeadInit = Literal["probe", "random"]
Conditioning = Literal["label", "none"]
StudentKind = Literal["cnn", "bilstm", "bag"]
TablePrecision = Literal["fp32", "fp16", "int8"]
_LEAST_TOKENS = 8
_LARGEST = 2**31 - 1
"""Beyond it, generators of random numbers take no seed, and counters in C overflow."""
MOST_REJECTED = 100_000
MOST_SHARDS = 1000
"""Of one stage: each is a row of the database and a message to the workers."""


def _sorted_unique(numbers: tuple[int, ...]) -> tuple[int, ...]:
    """However they are given, the same numbers are the same spec."""
    return tuple(sorted(set(numbers)))


class SpecError(ValueError):
    """A spec that cannot be carried out. Its message is for the caller, and quotes no row."""


class SpecPart(BaseModel):
    """Base of all spec parts: immutable, and strict about unknown fields."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class SplitSpec(SpecPart):
    """How the rows are divided. The holdout scores; the validation part is held back from the generator, to tell its perplexity."""

    holdout_fraction: float = Field(0.2, ge=0.05, le=0.5, description="Stratified; unused if the dataset brings its own test rows.")
    validation_fraction: float = Field(0.15, ge=0.05, le=0.5, description="Of the rows that are left after the holdout.")
    refit: bool = Field(
        True, description="Once all is measured, teacher and student go on with the holdout's rows too, and that student is published."
    )
    seed: int = Field(0, ge=0, le=_LARGEST)


class TeacherSpec(SpecPart):
    """Finetuning of the encoder with a linear classification head, by cross-entropy and a supervised contrastive loss."""

    model: str = Field("embedded:minilm-l6", min_length=1, max_length=400)
    head_init: HeadInit = Field("probe", description="`probe`: logistic regression on the encoder's embeddings as they are.")
    contrastive_weight: float = Field(0.5, ge=0, le=10, description="0 leaves the contrastive loss out, and its second view.")
    contrastive_temperature: float = Field(0.1, gt=0, le=10)
    freeze_embeddings: bool = Field(True, description="Keep the table of word embeddings as pretrained.")
    epochs: int = Field(5, ge=1, le=200)
    refit_epochs: int = Field(2, ge=1, le=200, description="More epochs, with the holdout's rows, for the published teacher.")
    learning_rate: float = Field(5e-5, gt=0, le=1e-2)
    head_learning_rate: float = Field(1e-3, gt=0, le=1e-1)
    batch_size: int = Field(16, ge=1, le=1024)
    max_tokens: int = Field(128, ge=8, le=8192)
    weight_decay: float = Field(0.01, ge=0, le=1)
    warmup_ratio: float = Field(0.1, ge=0, le=0.9)
    precision: Precision = "auto"
    seed: int = Field(0, ge=0, le=_LARGEST)


class GeneratorSpec(SpecPart):
    """Finetuning of the causal language model on `label -> text`, or on the texts alone."""

    model: str = Field("embedded:smollm2-135m", min_length=1, max_length=400)
    conditioning: Conditioning = "label"
    epochs: int = Field(3, ge=1, le=100, description="At most; training ends once the validation perplexity rises.")
    max_train_tokens: int = Field(
        10_000, ge=1, le=_LARGEST, description="Of all passes over the rows; a first pass may end before the last row."
    )
    learning_rate: float = Field(1e-3, gt=0, le=1e-2, description="`full` wants about 1e-4.")
    batch_size: int = Field(8, ge=1, le=1024)
    max_tokens: int = Field(160, ge=8, le=8192, description="Prompt and text together; longer rows are cut.")
    method: FinetuneMethod = Field("lora", description="`lora` trains low-rank adapters, `full` every weight.")
    lora_rank: int = Field(16, ge=1, le=1024)
    weight_decay: float = Field(0.01, ge=0, le=1)
    precision: Precision = "auto"
    seed: int = Field(0, ge=0, le=_LARGEST)


class GenerateSpec(SpecPart):
    """Nucleus sampling (Holtzman et al. 2020) of new, unlabelled texts."""

    texts: int | None = Field(None, ge=0, le=1_000_000, description="Quota of kept texts; null: as many as `tokens` hold.")
    tokens: int = Field(100_000, ge=1, le=1_000_000_000, description="Of the generator, in all kept texts, less what the seed rows cost.")
    seed_token_cost: float = Field(
        2.5, ge=0, le=100, description="Tokens not sampled for each token of a seed row: finetuning on it took that time. A quarter stays."
    )
    shard_tokens: int = Field(50_000, ge=1, le=_LARGEST, description="At most about so many make a shard, which any worker may sample.")
    batch_size: int = Field(128, ge=1, le=4096)
    temperature: float = Field(1.0, gt=0, le=5)
    top_p: float = Field(0.95, gt=0, le=1)
    top_k: int = Field(200, ge=1, le=1000, description="Nucleus is cut from this many best pieces; spares sorting the vocabulary.")
    max_new_tokens: int = Field(128, ge=4, le=4096)
    near_duplicate: float = Field(0.7, gt=0, le=1, description="Jaccard similarity of character 5-grams from which a text is dropped.")
    max_shared_words: int | None = Field(
        None,
        ge=1,
        le=1000,
        description="A text with a longer run of words in common with a row is dropped; null: runs are only counted. See docs/privacy.md.",
    )
    max_attempts: float = Field(3.0, ge=1, le=100, description="Samples drawn at most, as a multiple of the quota.")
    seed: int = Field(0, ge=0, le=_LARGEST)

    def quota(self, seed_rows: float, mean_tokens: float) -> int:
        """Texts to keep, where `seed_rows` have `mean_tokens` of the generator's tokens each.

        None counts for less than `_LEAST_TOKENS`: very short texts soon repeat each other.
        """
        if self.texts is not None:
            return self.texts
        length = self._length(mean_tokens)
        tokens = max(self.tokens / 4, self.tokens - self.seed_token_cost * seed_rows * length)
        return math.ceil(tokens / length)

    def shards(self, texts: int, mean_tokens: float) -> int:
        """In how many parts `texts` of that length are sampled: a matter of the spec alone, not of the workers there are.

        An even number, so that two workers end together.
        """
        shards = min(MOST_SHARDS, max(1, math.ceil(texts * self._length(mean_tokens) / self.shard_tokens)))
        return shards if shards == 1 else shards + shards % 2

    def _length(self, mean_tokens: float) -> float:
        return max(_LEAST_TOKENS, min(mean_tokens, self.max_new_tokens))


class LabelSpec(SpecPart):
    """Soft targets: the teacher's logits over the seed rows, the generated texts, and recombinations of both."""

    shard_tokens: int = Field(200_000, ge=1, le=_LARGEST, description="About so many make a shard, which any worker may read.")
    batch_size: int = Field(64, ge=1, le=4096)
    recombined: float = Field(5.0, ge=0, le=50, description="Texts made of parts of others, for each seed row and each generated text.")
    recombined_tokens: int = Field(
        300_000, ge=0, le=_LARGEST, description="All recombined texts together, at most, in the teacher's tokens."
    )
    exchanged_words: float = Field(
        0.35, ge=0, le=1, description="In half of the recombined texts, the share of words exchanged for any of the encoder's vocabulary."
    )
    curve: tuple[Annotated[int, Field(ge=1, le=_LARGEST)], ...] = Field(
        (),
        max_length=20,
        description="The report tells what students make of the first so many generated texts; each costs one more student.",
    )
    rejected: Annotated[tuple[Annotated[int, Field(ge=1, le=_LARGEST)], ...], AfterValidator(_sorted_unique)] = Field(
        (), max_length=MOST_REJECTED, description="Ids of generated texts that nobody is to learn from; see POST /jobs/{id}/distil-again."
    )
    seed: int = Field(0, ge=0, le=_LARGEST)


class DistilSpec(SpecPart):
    """Training of the student. Loss = alpha * T^2 * KL(soft) + (1 - alpha) * CE(hard), Hinton et al. 2015."""

    student: StudentKind = "cnn"
    max_parameters: int = Field(1_120_000, ge=100_000, le=1_120_000)
    max_bytes: int | None = Field(
        None,
        ge=50_000,
        description="Of the ONNX and the tokenizer file together: int8 first, then a narrower table, then fewer pieces; null: no limit.",
    )
    temperature: float = Field(2.0, gt=0, le=50)
    alpha: float = Field(0.5, ge=0, le=1)
    seed_repeats: int = Field(4, ge=1, le=100, description="How often a pass over the transfer set holds each seed row.")
    epochs: int = Field(10, ge=1, le=1000)
    refit_epochs: int = Field(3, ge=1, le=1000, description="More epochs, with the holdout's rows, for the published student.")
    min_steps: int = Field(600, ge=1, le=1_000_000, description="Small transfer sets are repeated up to this many steps.")
    max_steps: int = Field(4000, ge=1, le=_LARGEST, description="Epochs are cut to as many as fit into it, but at least one.")
    learning_rate: float = Field(3e-3, gt=0, le=1)
    batch_size: int = Field(64, ge=1, le=4096)
    max_tokens: int = Field(128, ge=8, le=4096)
    dropout: float = Field(0.2, ge=0, le=0.9)
    word_dropout: float = Field(0.2, ge=0, le=0.9, description="Share of a text's pieces left out, anew in each pass.")
    seed: int = Field(0, ge=0, le=_LARGEST)


class PublishSpec(SpecPart):
    """Evaluation and export."""

    bootstrap_samples: int = Field(1000, ge=100, le=100_000)
    parity_tolerance: float = Field(1e-3, gt=0, le=0.1, description="Largest |logit difference| of ONNX and torch that may be published.")
    precision: Literal["auto"] | TablePrecision = Field(
        "auto",
        description="Of the table that ships. `auto`: int8 for a `cnn` if that costs no right answer on the holdout, and where "
        "`distil.max_bytes` asks for it; else fp16.",
    )
    int8_agreement: float = Field(
        0.99, gt=0, le=1, description="Least share of holdout and generated texts on which int8 must answer as torch does to be published."
    )
    seed: int = Field(0, ge=0, le=_LARGEST)


class PrivacySpec(SpecPart):
    """What is told of the generated texts, and what stays of the rows. No artefact depends on it."""

    tell_samples: bool = Field(True, description="Some of the kept texts are events of the type `sample` while they are generated.")
    keep_rows: bool = Field(
        True,
        description="False: once the job has succeeded, its rows go, and all that repeats them: transfer set, generated texts, generator.",
    )


class JobSpec(SpecPart):
    """A complete job."""

    split: SplitSpec = SplitSpec()
    teacher: TeacherSpec = TeacherSpec()
    generator: GeneratorSpec = GeneratorSpec()
    generate: GenerateSpec = GenerateSpec()
    label: LabelSpec = LabelSpec()
    distil: DistilSpec = DistilSpec()
    publish: PublishSpec = PublishSpec()
    privacy: PrivacySpec = PrivacySpec()

    @model_validator(mode="after")
    def _bytes_leave_the_type_open(self) -> "JobSpec":
        if self.distil.max_bytes is not None and self.publish.precision in ("fp32", "fp16"):
            raise ValueError("distil.max_bytes chooses the type of the table itself: leave publish.precision at auto, or set it to int8")
        return self
