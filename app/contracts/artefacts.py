"""Content-addressed artefacts: the key of a stage's output, and the manifest whose presence means that it is complete."""

import hashlib
import json
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from app.contracts.spec import JobSpec
from app.contracts.stages import GRAPH, Stage

MANIFEST = "manifest.json"


class FileEntry(BaseModel):
    sha256: str
    bytes: int


class ArtefactManifest(BaseModel):
    """Written last into an artefact's folder."""

    model_config = ConfigDict(frozen=True)

    stage: Stage
    key: str
    version: int
    spec: dict[str, Any]
    inputs: dict[str, str] = Field(description="Keys of the inputs: `dataset`, `model`, and the stages before.")
    files: dict[str, FileEntry]
    metrics: dict[str, Any] = {}
    warnings: list[str] = []
    seconds: float
    packages: dict[str, str] = Field(default={}, description="Versions of the packages that made it.")


def spec_of(stage: Stage, spec: JobSpec) -> dict[str, Any]:
    """The parts of the spec that `stage` reads."""
    dumped = spec.model_dump(mode="json")
    return {part: dumped[part] for part in GRAPH[stage].spec_parts}


def artefact_key(stage: Stage, spec: JobSpec, inputs: dict[str, str]) -> str:
    """Hash of the stage's name, its code version, its part of the spec and the keys of its inputs."""
    content = [stage.value, GRAPH[stage].version, spec_of(stage, spec), inputs]
    return hashlib.sha256(json.dumps(content, sort_keys=True, separators=(",", ":")).encode()).hexdigest()
