"""A bundle from elsewhere: a zip that may be anything, read so that it cannot take more than its limits."""

import hashlib
import io
import math
import re
import zipfile
import zlib
from dataclasses import dataclass
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from app.bundles.schemas import BUNDLE_FILE, BundleInfo
from app.bundles.service import CARD_FILE, PROGRAM_FILE, STUDENT_FILES
from app.config import Limits
from app.contracts.report import Report
from app.contracts.students import REPORT_FILE, STUDENT_MANIFEST_FILE, StudentManifest
from app.datasets.raw import UNSEEN, limit_text, quote
from app.errors import ServiceError, field_errors

_REQUIRED = (*STUDENT_FILES, BUNDLE_FILE)
# The last two are made anew when it is downloaded, and never read.
_KNOWN = {*_REQUIRED, REPORT_FILE, CARD_FILE, PROGRAM_FILE}
_MAX_JSON = 5_000_000
_END = 22
"""Bytes of the end record of a zip without a comment."""
_MAX_DIRECTORY = 4096

ModelT = TypeVar("ModelT", bound=BaseModel)


@dataclass(frozen=True)
class UploadedBundle:
    """`files`: those to keep, by name."""

    info: BundleInfo
    manifest: StudentManifest
    files: dict[str, bytes]


def refused(detail: str) -> ServiceError:
    return ServiceError(
        422, "invalid-bundle", f"The bundle cannot be used: {detail}.", remedy="Send what GET /students/{name}/download gave."
    )


def read_bundle(content: bytes, limits: Limits) -> UploadedBundle:
    """Checks everything that can be checked without loading the student. Raises `ServiceError` 422."""
    files = _unzipped(content, limits)
    info = _parsed(BundleInfo, BUNDLE_FILE, files)
    for name in STUDENT_FILES + ((REPORT_FILE,) if REPORT_FILE in files else ()):
        entry = info.files.get(name)
        if entry is None or hashlib.sha256(files[name]).hexdigest() != entry.sha256:
            raise refused(f"{name} does not match its hash in {BUNDLE_FILE}")
    manifest = _parsed(StudentManifest, STUDENT_MANIFEST_FILE, files)
    _check_manifest(manifest, limits)
    if REPORT_FILE in files:
        _parsed(Report, REPORT_FILE, files)
    kept = {name: files[name] for name in (*_REQUIRED, REPORT_FILE) if name in files}
    return UploadedBundle(info, manifest, kept)


def _unzipped(content: bytes, limits: Limits) -> dict[str, bytes]:
    # Looked at before `zipfile` does: it makes an object of each entry, and a directory may name millions.
    end = content[-_END:]
    if end[:4] != b"PK\x05\x06" or content[-_END - 20 : -_END - 16] == b"PK\x06\x07":
        raise refused("it is no zip, or it is cut off, has a comment or is a zip64")
    if int.from_bytes(end[12:16], "little") > _MAX_DIRECTORY:
        raise refused("it has too many entries")
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            entries = archive.infolist()
            _check_entries(entries, limits)
            return {entry.filename: _unpacked(archive, entry) for entry in entries if entry.filename not in (CARD_FILE, PROGRAM_FILE)}
    # `zipfile` promises `BadZipFile` alone, but lets through what else bytes that lie lead to: in deflate, in names that are no UTF-8, in
    # places before the start or beyond 2**63, and in versions of the format that it does not know.
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, ValueError, OverflowError) as error:
        raise refused(f"the zip is damaged: {error}") from None


def _unpacked(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> bytes:
    """No more than its entry says, whatever is there: without a number, `read` inflates all of it before it looks at the size."""
    with archive.open(entry) as member:
        return member.read(entry.file_size + 1)


def _check_entries(entries: list[zipfile.ZipInfo], limits: Limits) -> None:
    names = [entry.filename for entry in entries]
    for entry in entries:
        if entry.filename not in _KNOWN or names.count(entry.filename) > 1:
            what = "comes twice" if entry.filename in _KNOWN else "does not belong in it"
            raise refused(f"{quote(entry.filename)} {what}; it holds {', '.join(sorted(_KNOWN))}, and no folder")
        if entry.flag_bits & 1 or entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise refused(f"{entry.filename} is encrypted, or compressed by another method than deflate")
        if entry.filename.endswith(".json") and entry.filename not in STUDENT_FILES[:2] and entry.file_size > _MAX_JSON:
            raise refused(f"{entry.filename} has {entry.file_size:,} bytes; the limit is {_MAX_JSON:,}")
    missing = [name for name in _REQUIRED if name not in names]
    if missing:
        raise refused(f"{', '.join(missing)} is missing")
    size = sum(entry.file_size for entry in entries)
    if size > limits.max_upload_bytes:
        detail = f"unzipped it has {size:,} bytes; {limit_text('max_upload_bytes', limits.max_upload_bytes)}"
        raise refused(detail)


def _parsed(model: type[ModelT], name: str, files: dict[str, bytes]) -> ModelT:
    try:
        parsed = model.model_validate_json(files[name])
    except ValidationError as error:
        faults = [f"{item.column or name}: {item.detail}" for item in field_errors(error)]
        raise refused(f"{name}: {'; '.join(faults[:3])}") from None
    if not _finite(parsed.model_dump()):  # JSON has no such numbers, so no answer could hold them
        raise refused(f"{name} holds a number that is not finite")
    return parsed


def _finite(value: Any) -> bool:
    if isinstance(value, float):
        return math.isfinite(value)
    parts = value.values() if isinstance(value, dict) else value if isinstance(value, list | tuple) else ()
    return all(_finite(part) for part in parts)


def _check_manifest(manifest: StudentManifest, limits: Limits) -> None:
    labels = manifest.labels
    if not 1 <= len(labels) <= limits.max_classes or len(set(labels)) != len(labels):
        raise refused(f"it has {len(labels)} labels, or one twice; {limit_text('max_classes', limits.max_classes)}")
    if any(UNSEEN.search(label) for label in labels):
        raise refused("a label holds a control character")
    if any(not label.strip() or len(label) > limits.max_label_chars for label in labels):
        raise refused(f"a label is empty or too long; {limit_text('max_label_chars', limits.max_label_chars)}")
    if not re.fullmatch(r"[a-z][a-z0-9_-]{0,19}", manifest.kind):
        raise refused(f"{quote(manifest.kind)} cannot be a kind of student")
    if not 1 <= manifest.max_tokens <= 8192 or manifest.pad_id < 0:
        raise refused("max_tokens or pad_id is out of range")
