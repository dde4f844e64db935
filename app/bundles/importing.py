"""A bundle from elsewhere becomes a version here."""

import hashlib
import json
import tempfile
from pathlib import Path

from sqlalchemy.orm import Session

from app.bundles.onnx_graph import ForbiddenGraph, check_graph
from app.bundles.reading import UploadedBundle, read_bundle, refused
from app.bundles.tokenizer_file import ForbiddenTokenizer, check_tokenizer
from app.bundles.trial import fault_of, trial_store
from app.config import Limits
from app.contracts.artefacts import ArtefactManifest, FileEntry
from app.contracts.comparison import Promote
from app.contracts.stages import GRAPH, Stage
from app.contracts.students import ONNX_FILE, TOKENIZER_FILE
from app.database import transaction
from app.jobs.promotion import promote
from app.jobs.versions import add_version
from app.storage import BlobStore
from app.students.schemas import StudentVersion
from app.students.service import get_student


def import_student(content: bytes, name: str | None, asked: Promote, limits: Limits, storage: BlobStore) -> StudentVersion:
    """Checks the bundle, stores its files and publishes the next version of its name, or of `name`.

    `latest` moves to the first version of a name, and otherwise only if that is asked for: nothing compares the two.
    Raises `ServiceError` 422 for a bundle that is not to be trusted.
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
        with transaction() as session:
            version = _register(session, name or bundle.info.name, bundle, manifest.key, asked)
        if storage.manifest(manifest.key) is None:  # another version with these files was deleted just before ours was there
            storage.publish(folder, manifest)
    return version


def _artefact(bundle: UploadedBundle) -> ArtefactManifest:
    files = {name: FileEntry(sha256=hashlib.sha256(data).hexdigest(), bytes=len(data)) for name, data in bundle.files.items()}
    hashes = {name: entry.sha256 for name, entry in sorted(files.items())}
    key = hashlib.sha256(json.dumps(["import", hashes], separators=(",", ":")).encode()).hexdigest()
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
    content = bundle.manifest.model_copy(update={"bytes": size}).model_dump(mode="json")
    student = add_version(session, name, job_id=None, kind=bundle.manifest.kind, artefact_key=key, manifest=content)
    origin = f"imported: first published as {bundle.info.name}:{bundle.info.version}"
    promotion = promote(session, name, student.version, None, asked, origin)
    student.promotion = {"moved": promotion.moved, "reason": promotion.reason, "comparison": None}
    session.flush()
    return next(found for found in get_student(session, name).versions if found.version == student.version)
