"""Keys of the artefacts that a job's stages are going to make, as far as they can be told before it runs."""

from collections.abc import Mapping

from app.contracts.artefacts import artefact_key
from app.contracts.models import embedded_model
from app.contracts.spec import JobSpec
from app.contracts.stages import GRAPH, Stage


def expected_keys(spec: JobSpec, dataset_hash: str, done: Mapping[Stage, str] | None = None) -> dict[Stage, str | None]:
    """None where the key follows from the content of weights that only a worker sees, and for the stage that is never reused.

    `done`: keys of stages that have run.
    """
    models = {Stage.FINETUNE_TEACHER: spec.teacher.model, Stage.FINETUNE_GENERATOR: spec.generator.model}
    keys: dict[Stage, str | None] = {}
    for stage, node in GRAPH.items():
        inputs: dict[str, str | None] = {before.value: keys[before] for before in node.after}
        if stage in models:
            inputs = {"dataset": dataset_hash, "model": _fingerprint(models[stage])}
        known = {name: key for name, key in inputs.items() if key is not None}
        computed = artefact_key(stage, spec, known) if node.reusable and len(known) == len(inputs) else None
        keys[stage] = (done or {}).get(stage) or computed
    return keys


def _fingerprint(reference: str) -> str | None:
    """Of an embedded model; a folder's or a hub's is not known before its files are read."""
    model = embedded_model(reference)
    return model.sha256 if model else None
