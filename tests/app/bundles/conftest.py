"""Real students, untrained: exported from the architectures, with a WordPiece tokenizer, published in the service's own database."""

import csv
from collections.abc import Callable
from pathlib import Path

import pytest
from transformers import BertTokenizer

from app.config import Settings
from app.contracts.memorisation import Memorisation
from app.contracts.report import Interval, Report, ReportEntry
from app.contracts.spec import StudentKind
from app.contracts.stages import Stage
from app.contracts.students import ONNX_FILE, REPORT_FILE, STUDENT_MANIFEST_FILE, TOKENIZER_FILE, StudentManifest
from app.storage import get_storage
from tests.app.storage.conftest import manifest_of
from tests.app.students.published import register
from tests.workers.students.samples import random_student
from tests.workers.tiny import word_pieces
from workers.training.precision import best_precision, export_student

ROOT = Path(__file__).parents[3]
LABELS = ["card_arrival", "exchange | rate", "pin_change"]
Publish = Callable[..., int]


def example_texts() -> list[str]:
    """All test rows of the bundled example."""
    with (ROOT / "examples" / "banking10_test.csv").open(newline="", encoding="utf-8") as file:
        return [row["text"] for row in csv.DictReader(file)]


def write_student(folder: Path, kind: StudentKind = "bag", temperature: float = 1.7) -> StudentManifest:
    """The files that the publish stage leaves."""
    folder.mkdir(parents=True)
    pieces = word_pieces()
    student = random_student(kind, pieces=len(pieces), classes=len(LABELS))
    export_student(student, folder / ONNX_FILE, best_precision(student))
    tokenizer = BertTokenizer(vocab=pieces).backend_tokenizer
    tokenizer.save(str(folder / TOKENIZER_FILE))
    lineage = {
        "job": "job_1",
        "dataset": "d" * 64,
        "spec": {"teacher": {"model": "embedded:minilm-l6"}, "generator": {"model": "some/causal-lm"}},
        "artefacts": {"label": "a" * 64},
        "seeds": {"distil": 3},
        "packages": {"torch": "2.0"},
    }
    manifest = StudentManifest(
        kind=kind,
        labels=LABELS,
        max_tokens=32,
        pad_id=0,
        parameters=5000,
        bytes=sum((folder / name).stat().st_size for name in (ONNX_FILE, TOKENIZER_FILE)),
        parity={"max_abs_logit_difference": 1e-6, "rows": 40.0},
        metrics={"accuracy": 0.91, "macro_f1": 0.9},
        temperature=temperature,
        lineage=lineage,
    )
    (folder / STUDENT_MANIFEST_FILE).write_text(manifest.model_dump_json(indent=1))
    (folder / REPORT_FILE).write_text(report().model_dump_json(indent=1))
    return manifest


def report() -> Report:
    figure = Interval(value=0.91, low=0.87, high=0.94)
    entry = ReportEntry(
        name="student",
        description="Distilled.",
        accuracy=figure,
        macro_f1=figure,
        per_class_f1=dict.fromkeys(LABELS, 0.88),
        confusion_matrix=[[1, 0, 0], [0, 1, 0], [0, 0, 1]],
        agreement=0.95,
        parameters=5000,
        bytes=40_000,
        latency_ms=0.1,
    )
    return Report(
        labels=LABELS,
        holdout_rows=80,
        holdout_source="split",
        refit=True,
        entries=[entry.model_copy(update={"name": "teacher", "parameters": 22_000_000}), entry],
        generated={"kept": 900, "duplicate": 100},
        memorisation=Memorisation(
            generated=1000,
            exact_copies=3,
            near_copies=4,
            shared_runs=9,
            max_shared_words=5,
            kept=900,
            kept_with_run=0,
            run_words=8,
            longest_kept_run=5,
        ),
        generation_gain=figure,
        verdict="Generation helped.",
        warnings=["The holdout has few rows of 'pin_change'."],
    )


@pytest.fixture
def publish(service_env: Settings, tmp_path: Path) -> Publish:
    """Publishes a version of a student; returns the version."""
    count = 0

    def create(name: str = "triage", kind: StudentKind = "bag", temperature: float = 1.7) -> int:
        nonlocal count
        count += 1
        key, folder = f"key-{count}", tmp_path / f"made-{count}"
        manifest = write_student(folder, kind, temperature)
        names = [path.name for path in folder.iterdir()]
        get_storage().publish(folder, manifest_of(folder, names, key, Stage.PUBLISH))
        return register(name, f"job_{count}", key, manifest.model_dump(mode="json"), dict.fromkeys(LABELS, 100))

    return create
