"""One stage of a job against a real store: its key, its artefact, its scratch folder."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from app.contracts.artefacts import ArtefactManifest, artefact_key
from app.contracts.rows import content_hash, dump_rows
from app.contracts.spec import JobSpec
from app.contracts.stages import Stage
from app.storage import BlobStore, file_sha256
from tests.workers.conftest import MemoryRecorder
from tests.workers.tiny import make_rows, tiny_spec
from workers.execution import DamagedDataset, JobContext, Lost, Outcome, StageExecution
from workers.models import resolve_model
from workers.training.recorder import StageStopped

Run = Callable[..., Outcome]

ROWS = content_hash(dump_rows(make_rows(10)), b"")
WITH_TEST = content_hash(dump_rows(make_rows(10)), dump_rows(make_rows(4, seed=9)))


@pytest.fixture
def storage(tmp_path: Path) -> BlobStore:
    store = BlobStore(f"file://{tmp_path / 'blobs'}", tmp_path / "cache")
    store.write(f"datasets/{ROWS}/rows.jsonl", dump_rows(make_rows(10)))
    store.write(f"datasets/{WITH_TEST}/rows.jsonl", dump_rows(make_rows(10)))
    store.write(f"datasets/{WITH_TEST}/test.jsonl", dump_rows(make_rows(4, seed=9)))
    return store


@pytest.fixture
def quick(teacher_model: Path, generator_model: Path) -> JobSpec:
    return tiny_spec(
        teacher_model, generator_model, teacher={"epochs": 1, "refit_epochs": 1}, generator={"epochs": 1}, generate={"texts": 0}
    )


@pytest.fixture
def run(storage: BlobStore, quick: JobSpec, tmp_path: Path) -> Run:
    """Runs a stage of a job whose data folder is `tmp_path`; `done` and the rest of the context as given."""

    def execute(
        stage: Stage, spec: JobSpec = quick, done: dict[Stage, str] | None = None, recorder: MemoryRecorder | None = None, **context: str
    ) -> Outcome:
        made = JobContext(context.get("job_id", "job_1"), ROWS, False, spec, done or {})
        return StageExecution(stage, made, storage, tmp_path / "data").run(recorder or MemoryRecorder())

    return execute


def scratch(tmp_path: Path) -> list[Path]:
    return list((tmp_path / "data" / "work").iterdir())


def test_an_artefact_is_complete_and_says_what_made_it(run: Run, storage: BlobStore, quick: JobSpec, tmp_path: Path) -> None:
    outcome = run(Stage.FINETUNE_TEACHER)
    manifest = outcome.manifest
    fingerprint = resolve_model(quick.teacher.model, tmp_path).fingerprint
    assert not outcome.reused
    assert manifest.inputs == {"dataset": ROWS, "model": fingerprint}
    assert manifest.key == artefact_key(Stage.FINETUNE_TEACHER, quick, manifest.inputs)
    assert set(manifest.spec) == {"split", "teacher"}
    assert manifest.metrics["epochs"] == 2
    assert manifest.seconds > 0
    assert {"torch", "transformers", "gendistil"} <= set(manifest.packages)
    folder = storage.fetch(manifest.key)
    needed = ("head.safetensors", "model.safetensors", "config.json", "tokenizer.json")
    assert {f"{lineage}/{name}" for lineage in ("measured", "published") for name in needed} <= set(manifest.files)
    for name, entry in manifest.files.items():
        assert entry.sha256 == file_sha256(folder / name)
        assert entry.bytes == (folder / name).stat().st_size
    assert scratch(tmp_path) == []


def test_what_is_done_is_not_done_again(run: Run, storage: BlobStore) -> None:
    first = run(Stage.FINETUNE_TEACHER)
    recorder = MemoryRecorder()
    again = run(Stage.FINETUNE_TEACHER, job_id="job_2", recorder=recorder)
    assert again.reused
    assert again.manifest == first.manifest
    assert recorder.steps == []


@pytest.mark.parametrize("part", ["teacher", "split", "model"])
def test_what_the_stage_reads_makes_another_artefact(part: str, run: Run, quick: JobSpec, teacher_model: Path, tmp_path: Path) -> None:
    first = run(Stage.FINETUNE_TEACHER)
    if part == "model":
        shutil.copytree(teacher_model, tmp_path / "other")
        (tmp_path / "other" / "extra.json").write_text("{}")
        spec = quick.model_copy(update={"teacher": quick.teacher.model_copy(update={"model": str(tmp_path / "other")})})
    else:
        spec = quick.model_copy(update={part: getattr(quick, part).model_copy(update={"seed": 7})})
    other = run(Stage.FINETUNE_TEACHER, spec)
    assert not other.reused
    assert other.manifest.key != first.manifest.key


def test_what_the_stage_does_not_read_makes_no_difference(run: Run, quick: JobSpec) -> None:
    run(Stage.FINETUNE_TEACHER)
    spec = quick.model_copy(update={"distil": quick.distil.model_copy(update={"student": "bag"})})
    assert run(Stage.FINETUNE_TEACHER, spec).reused


def test_a_stage_that_stops_leaves_nothing(run: Run, storage: BlobStore, tmp_path: Path) -> None:
    with pytest.raises(StageStopped):
        run(Stage.FINETUNE_TEACHER, recorder=MemoryRecorder(stop=StageStopped(), stop_after=1))
    assert scratch(tmp_path) == []
    assert not storage.exists("artefacts")


def test_a_stage_that_is_stopped_after_its_last_step_leaves_nothing(run: Run, storage: BlobStore, tmp_path: Path) -> None:
    told = MemoryRecorder()
    run(Stage.FINETUNE_TEACHER, job_id="job_0", recorder=told)
    shutil.rmtree(tmp_path / "blobs" / "artefacts")
    with pytest.raises(StageStopped):
        run(Stage.FINETUNE_TEACHER, recorder=MemoryRecorder(stop=StageStopped(), stop_after=told.checks - 1))
    assert not storage.exists("artefacts")


def test_an_artefact_without_its_manifest_is_made_again(run: Run, storage: BlobStore, tmp_path: Path) -> None:
    key = run(Stage.FINETUNE_TEACHER).manifest.key
    (tmp_path / "blobs" / "artefacts" / key / "manifest.json").unlink()
    again = run(Stage.FINETUNE_TEACHER)
    assert not again.reused
    assert again.manifest.key == key
    assert isinstance(storage.manifest(key), ArtefactManifest)


@pytest.mark.parametrize("damage", ["file", "folder"])
def test_an_earlier_artefact_that_is_not_whole_is_named_and_removed(damage: str, run: Run, tmp_path: Path) -> None:
    teacher = run(Stage.FINETUNE_TEACHER).manifest.key
    generator = run(Stage.FINETUNE_GENERATOR).manifest.key
    texts = run(Stage.GENERATE, done={Stage.FINETUNE_GENERATOR: generator}).manifest.key
    folder = tmp_path / "blobs" / "artefacts" / teacher
    if damage == "file":
        (folder / "measured" / "head.safetensors").unlink()
    else:
        shutil.rmtree(folder)
    with pytest.raises(Lost, match=teacher) as caught:
        run(Stage.LABEL, done={Stage.FINETUNE_TEACHER: teacher, Stage.GENERATE: texts})
    assert caught.value.stages == (Stage.FINETUNE_TEACHER,)
    assert not folder.exists()
    assert scratch(tmp_path) == []


def test_a_missed_quota_is_a_warning(run: Run, quick: JobSpec) -> None:
    generator = run(Stage.FINETUNE_GENERATOR).manifest.key
    wanting = quick.generate.model_copy(update={"texts": 20, "top_k": 1, "max_attempts": 1.0})
    manifest = run(Stage.GENERATE, quick.model_copy(update={"generate": wanting}), done={Stage.FINETUNE_GENERATOR: generator}).manifest
    assert manifest.warnings == [manifest.metrics["shortfall"]]
    assert "of 20 texts kept" in manifest.warnings[0]


def test_test_rows_of_the_caller_are_the_holdout(storage: BlobStore, quick: JobSpec, tmp_path: Path) -> None:
    own = StageExecution(Stage.PUBLISH, JobContext("job_1", WITH_TEST, True, quick, {}), storage, tmp_path).split
    assert own.holdout == make_rows(4, seed=9)
    assert len(own.train) + len(own.validation) == 30


def test_rows_that_were_changed_in_the_store_are_not_learned_from(run: Run, storage: BlobStore) -> None:
    storage.write(f"datasets/{ROWS}/rows.jsonl", dump_rows(make_rows(10, seed=5)))
    with pytest.raises(DamagedDataset, match=ROWS):
        run(Stage.FINETUNE_TEACHER)
