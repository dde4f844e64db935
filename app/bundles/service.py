"""A published student as a bundle: what it needs to run anywhere, and what there is to know about it."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy.orm import Session

from app.bundles.card import model_card
from app.bundles.schemas import BUNDLE_FILE, BundleInfo, DataCounts
from app.contracts.artefacts import ArtefactManifest
from app.contracts.report import Report
from app.contracts.students import ONNX_FILE, REPORT_FILE, STUDENT_MANIFEST_FILE, TOKENIZER_FILE, StudentManifest
from app.storage import BlobStore, TornArtefact
from app.students.service import broken_student, find_student
from app.tables import Dataset, Job, Student

CARD_FILE = "README.md"
PROGRAM_FILE = "predict.py"
STUDENT_FILES = (ONNX_FILE, TOKENIZER_FILE, STUDENT_MANIFEST_FILE)
_PROGRAM = Path(__file__).with_name(PROGRAM_FILE)


@dataclass(frozen=True)
class Bundle:
    """`parts` by name, files or content; `digest` is a hash over all of it, made without reading the files again."""

    name: str
    version: int
    parts: Mapping[str, Path | bytes]
    digest: str


def make_bundle(session: Session, reference: str, storage: BlobStore) -> Bundle:
    """Raises `ServiceError`: 422 malformed, 404 unknown, 503 a student whose files are missing or damaged."""
    row = find_student(session, reference)
    data = _data_counts(session, row)
    try:
        folder = storage.fetch(row.artefact_key)
        artefact = storage.manifest(row.artefact_key)
        if artefact is None or any(name not in artefact.files for name in STUDENT_FILES):
            raise TornArtefact(f"{row.artefact_key}: it is not complete")
    except (FileNotFoundError, TornArtefact) as error:
        raise broken_student(row.name, row.version, row.artefact_key, error) from error
    return _assembled(row, artefact, folder, data)


def _assembled(row: Student, artefact: ArtefactManifest, folder: Path, data: DataCounts | None) -> Bundle:
    names = [name for name in (*STUDENT_FILES, REPORT_FILE) if name in artefact.files]
    origin = BundleInfo.model_validate_json((folder / BUNDLE_FILE).read_bytes()) if BUNDLE_FILE in artefact.files else None
    info = BundleInfo(
        name=row.name,
        version=row.version,
        published_at=row.created_at,
        data=origin.data if origin else data,
        files={name: artefact.files[name] for name in names},
    )
    manifest = StudentManifest.model_validate_json((folder / STUDENT_MANIFEST_FILE).read_bytes())
    report = Report.model_validate_json((folder / REPORT_FILE).read_bytes()) if REPORT_FILE in names else None
    made = {
        CARD_FILE: model_card(info, manifest, report).encode(),
        PROGRAM_FILE: _PROGRAM.read_bytes(),
        BUNDLE_FILE: info.model_dump_json(indent=1).encode(),
    }
    # The hashes of the files stand in bundle.json.
    digest = hashlib.sha256(b"".join(hashlib.sha256(content).digest() for content in made.values())).hexdigest()
    return Bundle(row.name, row.version, {**made, **{name: folder / name for name in names}}, digest)


def _data_counts(session: Session, row: Student) -> DataCounts | None:
    """None for a student that was imported: its job is another gendistil's."""
    job = session.get(Job, row.job_id) if row.job_id is not None else None
    dataset = session.get(Dataset, job.dataset_id) if job else None
    if dataset is None:
        return None
    return DataCounts(rows=dataset.rows, test_rows=dataset.test_rows, label_counts=dataset.label_counts, sha256=dataset.content_hash)
