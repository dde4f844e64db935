"""Keys of artefacts, told before a job runs, against those that the stages compute."""

from pathlib import Path

from app.contracts.artefacts import artefact_key
from app.contracts.models import EMBEDDED_MODELS
from app.contracts.presets import PRESETS, resolve_spec
from app.contracts.reuse import expected_keys
from app.contracts.stages import GRAPH, Stage
from app.storage import BlobStore
from workers.execution import JobContext, StageExecution
from workers.models import ModelFolder


def test_they_are_those_that_the_stages_compute(tmp_path: Path) -> None:
    spec = PRESETS["fast"]
    storage = BlobStore(f"file://{tmp_path}/blobs", tmp_path / "cache")
    expected = expected_keys(spec, "abc")
    done: dict[Stage, str] = {}
    for stage in GRAPH:
        execution = StageExecution(stage, JobContext("job_1", "abc", False, spec, done), storage, tmp_path)
        name = {Stage.FINETUNE_TEACHER: "minilm-l6", Stage.FINETUNE_GENERATOR: "smollm2-135m"}.get(stage)
        if name is not None:
            execution.model = ModelFolder(tmp_path, EMBEDDED_MODELS[name].sha256)  # as `resolve_model` finds it
        done[stage] = execution.key
        assert expected[stage] == (execution.key if GRAPH[stage].reusable else None)


def test_stages_that_have_run_tell_what_comes_after_them() -> None:
    spec = resolve_spec("fast", {"teacher": {"model": "google-bert/bert-base-uncased"}})
    unknown = expected_keys(spec, "abc")
    assert {stage for stage, key in unknown.items() if key is not None} == {Stage.FINETUNE_GENERATOR, Stage.GENERATE}
    known = expected_keys(spec, "abc", {Stage.FINETUNE_TEACHER: "t", Stage.GENERATE: "g"})
    assert known[Stage.LABEL] == artefact_key(Stage.LABEL, spec, {"finetune_teacher": "t", "generate": "g"})
    assert known[Stage.DISTIL] is not None
