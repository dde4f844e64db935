"""A bundle from elsewhere becomes a version here."""

import hashlib
import json
import tempfile
from pathlib import Path

import numpy as np
from sqlalchemy.orm import Session
from tokenizers import Tokenizer

from app.bundles.onnx_graph import ForbiddenGraph, check_graph
from app.bundles.reading import UploadedBundle, read_bundle, refused
from app.config import Limits
from app.contracts.artefacts import ArtefactManifest, FileEntry
from app.contracts.comparison import Promote
from app.contracts.stages import GRAPH, Stage
from app.contracts.students import ONNX_FILE, ONNX_INPUT, ONNX_OUTPUT, TOKENIZER_FILE, StudentManifest
from app.database import transaction
from app.errors import ServiceError
from app.jobs.promotion import promote
from app.jobs.versions import add_version
from app.predictions.runtime import StudentRuntime, load_student
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
        _try_out(folder, manifest, bundle.manifest, BlobStore(f"file://{scratch}/trial", Path(scratch) / "cache"))
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


def _try_out(folder: Path, artefact: ArtefactManifest, manifest: StudentManifest, trial: BlobStore) -> None:
    """Loads the student from a store of its own, as it will be served, and runs it. Raises `ServiceError` 422."""
    try:
        check_graph((folder / ONNX_FILE).read_bytes())
    except ForbiddenGraph as error:
        raise refused(f"{ONNX_FILE}: {error}") from None
    trial.publish(folder, artefact)
    try:
        student = load_student(trial, artefact.key)
        student.probabilities(["a", "", "a b c " * manifest.max_tokens])
        _check_signature(student, folder / TOKENIZER_FILE)
    except ServiceError:
        raise
    except Exception as error:  # onnxruntime's exceptions are private to it; whichever it was, this student cannot serve
        raise refused(f"the student does not run: {error}") from None


def _check_signature(student: StudentRuntime, tokenizer: Path) -> None:
    session, manifest = student.session, student.manifest
    given, made = ([(slot.name, slot.type, len(slot.shape)) for slot in slots] for slots in (session.get_inputs(), session.get_outputs()))
    if given != [(ONNX_INPUT, "tensor(int64)", 2)] or made != [(ONNX_OUTPUT, "tensor(float)", 2)]:
        raise refused(f"{ONNX_FILE} does not take {ONNX_INPUT} (B, T) and give {ONNX_OUTPUT} (B, C)")
    # The tokenizer must know no piece that the student has no vector for.
    last = max(Tokenizer.from_file(str(tokenizer)).get_vocab().values(), default=0)
    ids = np.array([[0, last], [last, manifest.pad_id], [manifest.pad_id, manifest.pad_id]], np.int64)
    logits = session.run([ONNX_OUTPUT], {ONNX_INPUT: ids})[0]
    if logits.shape != (len(ids), len(manifest.labels)) or not np.isfinite(logits).all():
        raise refused(f"its logits have the shape {logits.shape}, or are not finite; it has {len(manifest.labels)} labels")


def _register(session: Session, name: str, bundle: UploadedBundle, key: str, asked: Promote) -> StudentVersion:
    size = sum(len(bundle.files[file]) for file in (ONNX_FILE, TOKENIZER_FILE))
    content = bundle.manifest.model_copy(update={"bytes": size}).model_dump(mode="json")
    student = add_version(session, name, job_id=None, kind=bundle.manifest.kind, artefact_key=key, manifest=content)
    origin = f"imported: first published as {bundle.info.name}:{bundle.info.version}"
    promotion = promote(session, name, student.version, None, asked, origin)
    student.promotion = {"moved": promotion.moved, "reason": promotion.reason, "comparison": None}
    session.flush()
    return next(found for found in get_student(session, name).versions if found.version == student.version)
