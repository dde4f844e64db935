"""A published student in memory: onnxruntime and a tokenizer, nothing else."""

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from tokenizers import Tokenizer

from app.contracts.students import ONNX_FILE, ONNX_INPUT, ONNX_OUTPUT, STUDENT_MANIFEST_FILE, TOKENIZER_FILE, StudentManifest
from app.storage import BlobStore, TornArtefact, file_sha256

BATCH_SIZE = 64

Logits = NDArray[np.float32]


class BrokenStudent(Exception):
    """Its artefact is missing or damaged, or is no student, or it gives no finite scores."""


@dataclass(frozen=True, slots=True)
class StudentRuntime:
    """Safe to share between threads. `bytes` is what it counts for in the cache: the size of its files."""

    manifest: StudentManifest
    tokenizer: Tokenizer
    session: onnxruntime.InferenceSession
    bytes: int

    def probabilities(self, texts: list[str]) -> NDArray[np.float64]:
        """softmax(logits), (N, C), in the order of the texts. Raises `BrokenStudent`."""
        ids = [encoding.ids or [self.manifest.pad_id] for encoding in self.tokenizer.encode_batch_fast(texts, add_special_tokens=False)]
        logits = np.empty((len(texts), len(self.manifest.labels)), np.float64)
        # Sorted by length, so that a batch holds little padding.
        order = sorted(range(len(ids)), key=lambda index: len(ids[index]))
        for start in range(0, len(order), BATCH_SIZE):
            batch = order[start : start + BATCH_SIZE]
            logits[batch] = self._logits([ids[index] for index in batch])
        if not np.isfinite(logits).all():
            raise BrokenStudent("its logits are not finite")
        exponentials = np.exp(logits - logits.max(axis=1, keepdims=True))
        return np.asarray(exponentials / exponentials.sum(axis=1, keepdims=True))

    def _logits(self, ids: list[list[int]]) -> Logits:
        padded = np.full((len(ids), max(map(len, ids))), self.manifest.pad_id, np.int64)  # (B, T)
        for row, pieces in zip(padded, ids, strict=True):
            row[: len(pieces)] = pieces
        logits: Logits = self.session.run([ONNX_OUTPUT], {ONNX_INPUT: padded})[0]
        expected = (len(ids), len(self.manifest.labels))
        if logits.shape != expected:
            raise BrokenStudent(f"its logits have the shape {logits.shape}, not {expected}")
        return logits


def load_student(storage: BlobStore, key: str) -> StudentRuntime:
    """Loads the artefact, checks its hashes and runs it once. Raises `BrokenStudent`."""
    try:
        return _load(storage, key)
    except BrokenStudent:
        raise
    except Exception as error:  # tokenizers and onnxruntime raise bare and private exceptions; whichever it was, this student cannot serve
        raise BrokenStudent(str(error)) from error


def _load(storage: BlobStore, key: str) -> StudentRuntime:
    folder = storage.fetch(key)
    _check_hashes(storage, key, folder)
    manifest = StudentManifest.model_validate_json((folder / STUDENT_MANIFEST_FILE).read_bytes())
    tokenizer = Tokenizer.from_file(str(folder / TOKENIZER_FILE))
    tokenizer.no_padding()
    tokenizer.enable_truncation(max_length=manifest.max_tokens)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = len(os.sched_getaffinity(0))
    # Threads that spin while they wait would take the cores from the other students.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    session = onnxruntime.InferenceSession(str(folder / ONNX_FILE), options, providers=["CPUExecutionProvider"])
    size = sum((folder / name).stat().st_size for name in (ONNX_FILE, TOKENIZER_FILE))
    student = StudentRuntime(manifest, tokenizer, session, size)
    student.probabilities(["a"])
    return student


def _check_hashes(storage: BlobStore, key: str, folder: Path) -> None:
    artefact = storage.manifest(key)
    for name in (ONNX_FILE, TOKENIZER_FILE, STUDENT_MANIFEST_FILE):
        entry = artefact.files.get(name) if artefact else None
        if entry is None or file_sha256(folder / name) != entry.sha256:
            raise TornArtefact(f"{key}: {name} does not match its hash")
