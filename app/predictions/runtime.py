"""A published student in memory: onnxruntime and a tokenizer, nothing else."""

import math
import os
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from app.contracts.profile import unpack_bits
from app.contracts.students import ONNX_FILE, ONNX_INPUT, ONNX_OUTPUT, STUDENT_MANIFEST_FILE, TOKENIZER_FILE, StudentManifest
from app.predictions.tokenization import PieceEncoder, PieceIds, piece_encoder
from app.storage import BlobStore, file_sha256

BATCH_TOKENS = 2048
"""Padding among them. More would leave the core's cache, fewer would wait for the next call of onnxruntime."""
FEW_BATCHES = 4
"""Are run by whoever asks: on busy cores, to wait for threads takes as long as it saves."""

Logits = NDArray[np.float32]


class BrokenStudent(Exception):
    """Its artefact is missing or damaged, or is no student, or it gives no finite scores."""


@dataclass(frozen=True, slots=True)
class StudentRuntime:
    """Safe to share between threads. `bytes` is what it counts for in the cache: the size of its files."""

    manifest: StudentManifest
    encoder: PieceEncoder
    session: onnxruntime.InferenceSession
    bytes: int
    unknown: NDArray[np.bool_] = field(default_factory=lambda: np.zeros(1, np.bool_))
    """By id, whether a piece is none that the student knows; ids beyond are as the last."""

    def probabilities(self, texts: list[str]) -> NDArray[np.float64]:
        """softmax(logits / temperature), (N, C), in the order of the texts. Raises `BrokenStudent`."""
        return self.infer(self.encode(texts))

    def encode(self, texts: list[str]) -> PieceIds:
        """Cut to the student's length; nothing is added."""
        return self.encoder.encode(texts, self.manifest.max_tokens, self.manifest.pad_id)

    def count_unknown(self, pieces: PieceIds) -> int:
        return int(np.count_nonzero(self.unknown.take(pieces.ids, mode="clip")))

    def infer(self, pieces: PieceIds) -> NDArray[np.float64]:
        """(N, C), as `probabilities`. Raises `BrokenStudent`."""
        if len(pieces.lengths) == 1:
            logits = self._logits(pieces.ids[None].astype(np.int64)).astype(np.float64)
        else:
            logits = np.empty((len(pieces.lengths), len(self.manifest.labels)), np.float64)
            batches = list(_batches(pieces, self.manifest.pad_id))
            cores = len(os.sched_getaffinity(0))
            run = map if len(batches) <= FEW_BATCHES or cores == 1 else _threads(cores).map
            for (rows, _), found in zip(batches, run(self._logits, [padded for _, padded in batches]), strict=True):
                logits[rows] = found
        # Ufuncs themselves, and one sum for all: on a single text, numpy's calls take as long as a small network does.
        if not math.isfinite(np.add.reduce(logits, axis=None)):
            raise BrokenStudent("its logits are not finite")
        logits /= self.manifest.temperature
        logits -= np.maximum.reduce(logits, axis=1, keepdims=True)
        np.exp(logits, out=logits)
        logits /= np.add.reduce(logits, axis=1, keepdims=True)
        return logits

    def _logits(self, padded: NDArray[np.int64]) -> Logits:
        try:
            logits: Logits = self.session.run([ONNX_OUTPUT], {ONNX_INPUT: padded})[0]
        except Exception as error:  # onnxruntime's are private
            raise BrokenStudent(f"its network failed: {error}") from error
        expected = (len(padded), len(self.manifest.labels))
        if logits.shape != expected:
            raise BrokenStudent(f"its logits have the shape {logits.shape}, not {expected}")
        return logits


def _batches(pieces: PieceIds, pad_id: int) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Texts of about one length together: their places (B,), and their ids (B, T)."""
    if len(pieces.lengths) == 1:  # as most requests are; the sorting below takes longer than a small student's network
        yield np.zeros(1, np.int64), pieces.ids[None].astype(np.int64)
        return
    order = np.argsort(pieces.lengths, kind="stable")
    lengths = pieces.lengths[order]
    starts = (np.cumsum(pieces.lengths) - pieces.lengths)[order]
    first = 0
    while first < len(order):
        # As many as fit if the others are as long as the first; as they are longer, as many as fit of the length that this finds.
        last = min(first + max(1, BATCH_TOKENS // int(lengths[first])), len(order)) - 1
        size = max(1, min(last + 1 - first, BATCH_TOKENS // int(lengths[last])))
        batch = slice(first, first + size)
        positions = np.arange(lengths[batch][-1])
        places = starts[batch, None] + positions
        inside = positions < lengths[batch, None]
        yield order[batch], np.where(inside, pieces.ids.take(places, mode="clip"), pad_id).astype(np.int64, copy=False)
        first += size


@cache
def _threads(cores: int) -> ThreadPoolExecutor:
    """Of all students together, so that hundreds of them have no more threads than there are cores."""
    return ThreadPoolExecutor(cores, "student")


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
    manifest = StudentManifest.model_validate_json((folder / STUDENT_MANIFEST_FILE).read_bytes())
    encoder = piece_encoder(folder / TOKENIZER_FILE, file_sha256(folder / TOKENIZER_FILE))
    size = sum((folder / name).stat().st_size for name in (ONNX_FILE, TOKENIZER_FILE))
    student = StudentRuntime(manifest, encoder, open_session(folder / ONNX_FILE), size, _by_id(unpack_bits(manifest.unknown_pieces)))
    student.probabilities(["a"])
    return student


def _by_id(bits: bytes) -> NDArray[np.bool_]:
    """One more than the bits, so that ids beyond them are clipped to a piece that is not unknown."""
    return np.append(np.unpackbits(np.frombuffer(bits, np.uint8), bitorder="little"), np.uint8(0)).astype(np.bool_)


def open_session(path: Path) -> onnxruntime.InferenceSession:
    """One thread a call: a student's operations are too small to be shared out, whole batches are."""
    with _registering:
        _share_memory()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.add_session_config_entry("session.use_env_allocators", "1")
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


_registering = threading.Lock()


@cache
def _share_memory() -> None:
    """One arena for the intermediate results of all students: each with its own would keep some megabytes for its largest batch."""
    kind, place = onnxruntime.OrtAllocatorType.ORT_ARENA_ALLOCATOR, onnxruntime.OrtMemType.DEFAULT
    everything_default = onnxruntime.OrtArenaCfg(0, -1, -1, -1)
    onnxruntime.create_and_register_allocator(onnxruntime.OrtMemoryInfo("Cpu", kind, 0, place), everything_default)
