"""Presets: complete job specs by name, and how a caller's overrides are laid over them."""

from typing import Any, Literal

from app.contracts.spec import DistilSpec, GenerateSpec, GeneratorSpec, JobSpec, LabelSpec, PrivacySpec, SplitSpec, TeacherSpec

PresetName = Literal["fast", "balanced", "sensitive", "thorough", "paper"]

PRESETS: dict[str, JobSpec] = {
    "fast": JobSpec(),
    "balanced": JobSpec(
        teacher=TeacherSpec(model="embedded:bge-small-en"),
        generator=GeneratorSpec(max_train_tokens=30_000),
        generate=GenerateSpec(tokens=180_000),
        label=LabelSpec(recombined_tokens=600_000),
        distil=DistilSpec(max_steps=6000),
    ),
    "sensitive": JobSpec(
        generate=GenerateSpec(near_duplicate=0.5, max_shared_words=5, max_attempts=5.0), privacy=PrivacySpec(tell_samples=False)
    ),
    "thorough": JobSpec(
        teacher=TeacherSpec(epochs=10, batch_size=32),
        generator=GeneratorSpec(method="full", learning_rate=1e-4, max_train_tokens=10_000_000, batch_size=16),
        generate=GenerateSpec(texts=100_000, batch_size=512, shard_tokens=1_000_000),
        label=LabelSpec(recombined=2.0, recombined_tokens=20_000_000, curve=(500, 2000, 8000, 32_000), shard_tokens=5_000_000),
        distil=DistilSpec(max_steps=50_000, batch_size=128),
    ),
    "paper": JobSpec(
        split=SplitSpec(refit=False),
        teacher=TeacherSpec(
            model="google-bert/bert-large-uncased",
            head_init="random",
            contrastive_weight=0.0,
            freeze_embeddings=False,
            epochs=10,
            learning_rate=2e-5,
            head_learning_rate=2e-5,
        ),
        generator=GeneratorSpec(
            model="openai-community/gpt2", method="full", max_train_tokens=10_000_000, learning_rate=5e-5, conditioning="none"
        ),
        generate=GenerateSpec(texts=100_000, batch_size=256, top_p=1.0, top_k=1000, shard_tokens=1_000_000),
        label=LabelSpec(recombined=0.0, shard_tokens=5_000_000),
        distil=DistilSpec(student="bilstm", temperature=1.0, alpha=1.0, seed_repeats=1, epochs=40, max_steps=1_000_000),
    ),
}

PRESET_SUMMARIES: dict[str, str] = {
    "fast": "Minutes on two CPU cores; the default.",
    "balanced": "A larger teacher and more texts, on two CPU cores too.",
    "sensitive": "As fast, for rows that nobody else may read: texts near a row are dropped strictly, none is told as an event.",
    "thorough": "100,000 generated texts; wants a GPU.",
    "paper": "BERT-large and GPT-2 as in arXiv 2002.00733; wants a GPU and access to a model hub.",
}


def resolve_spec(preset: str, overrides: dict[str, Any]) -> JobSpec:
    """Lays `overrides` over a preset.

    Raises `KeyError` for an unknown preset and `pydantic.ValidationError` for an unknown field or a value out of range.
    """
    return JobSpec.model_validate(_merge(PRESETS[preset].model_dump(), overrides))


def _merge(base: dict[str, Any], overrides: dict[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for name, value in overrides.items():
        known = merged.get(name)
        merged[name] = _merge(known, value) if isinstance(known, dict) and isinstance(value, dict) else value
    return merged
