"""A bundle from elsewhere becomes a version here."""

import hashlib
import json
import tempfile
from pathlib import Path

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.bundles.onnx_graph import ForbiddenGraph, check_graph
from app.bundles.reading import UploadedBundle, read_bundle, refused
from app.bundles.tokenizer_file import ForbiddenTokenizer, check_tokenizer
from app.bundles.trial import fault_of, trial_store
from app.config import Limits, get_settings
from app.contracts.artefacts import ArtefactManifest, FileEntry
from app.contracts.comparison import Promote
from app.contracts.projects import DEFAULT_PROJECT
from app.contracts.stages import GRAPH, Stage
from app.contracts.students import ONNX_FILE, TOKENIZER_FILE
from app.database import transaction
from app.errors import ServiceError
from app.jobs.promotion import promote
from app.jobs.versions import add_version
from app.ownership import current_project
from app.quotas import check_space
from app.references import drop_unused_artefacts
from app.storage import BlobStore
from app.students.schemas import StudentVersion
from app.students.service import get_student
from app.tables import Student


def import_student(content: bytes, name: str | None, asked: Promote, limits: Limits, storage: BlobStore) -> StudentVersion:
    """Checks the bundle, stores its files and publishes the next version of its name, or of `name`.

    `latest` moves to the first version of a name, and otherwise only if that is asked for: nothing compares the two.
    Raises `ServiceError`: 422 for a bundle that is not to be trusted, 403 if the project has no room.
    """
    bundle = read_bundle(content, limits)
    with tempfile.TemporaryDirectory(prefix="gendistil-import-") as scratch:
        folder = Path(scratch) / "student"
        folder.mkdir()
        for file, data in bundle.files.items():
            (folder / file).write_bytes(data)
        manifest = _artefact(bundle)
        _try_out(folder, manifest, Path(scratch))
        storage.publish(folder, manifest)
        try:
            with transaction() as session:
                version = _register(session, name or bundle.info.name, bundle, manifest.key, asked)
        except ServiceError:
            drop_unused_artefacts(storage, [manifest.key])
            raise
        if storage.manifest(manifest.key) is None:  # another version with these files was deleted just before ours was there
            storage.publish(folder, manifest)
    return version


def _artefact(bundle: UploadedBundle) -> ArtefactManifest:
    files = {name: FileEntry(sha256=hashlib.sha256(data).hexdigest(), bytes=len(data)) for name, data in bundle.files.items()}
    hashes = {name: entry.sha256 for name, entry in sorted(files.items())}
    # No project shares files with another, unless they are to.
    owner = [] if current_project() == DEFAULT_PROJECT or get_settings().reuse_across_projects else [current_project()]
    key = hashlib.sha256(json.dumps(["import", hashes, *owner], separators=(",", ":")).encode()).hexdigest()
    stage = Stage.PUBLISH
    return ArtefactManifest(stage=stage, key=key, version=GRAPH[stage].version, spec={}, inputs={}, files=files, seconds=0)


def _try_out(folder: Path, artefact: ArtefactManifest, scratch: Path) -> None:
    """Looks at the files before anything loads them, then runs the student as it will be served. Raises `ServiceError` 422."""
    try:
        check_graph((folder / ONNX_FILE).read_bytes())
        check_tokenizer((folder / TOKENIZER_FILE).read_bytes())
    except ForbiddenGraph as error:
        raise refused(f"{ONNX_FILE}: {error}") from None
    except ForbiddenTokenizer as error:
        raise refused(f"{TOKENIZER_FILE}: {error}") from None
    trial_store(scratch).publish(folder, artefact)
    if (fault := fault_of(scratch, artefact.key)) is not None:
        raise refused(fault)


def _register(session: Session, name: str, bundle: UploadedBundle, key: str, asked: Promote) -> StudentVersion:
    size = sum(len(bundle.files[file]) for file in (ONNX_FILE, TOKENIZER_FILE))
    if session.scalar(select(Student.id).where(Student.artefact_key == key).limit(1)) is None:
        check_space(session, size)
    content = bundle.manifest.model_copy(update={"bytes": size}).model_dump(mode="json")
    student = add_version(session, name, job_id=None, kind=bundle.manifest.kind, artefact_key=key, manifest=content)
    origin = f"imported: first published as {bundle.info.name}:{bundle.info.version}"
    promotion = promote(session, name, student.version, None, asked, origin)
    student.promotion = {"moved": promotion.moved, "reason": promotion.reason, "comparison": None}
    session.flush()
    return next(found for found in get_student(session, name).versions if found.version == student.version)
