"""`python -m app.bundles.trial FOLDER KEY`: loads and runs a student from elsewhere in a process that may take neither much nor long.

A few kilobytes of plain arithmetic can ask for a terabyte, or for a year; only an attempt tells, and the service must outlive it. The
answer is a line of JSON on standard output: `{"fault": null}`, or what is wrong.
"""

import json
import os
import resource
import subprocess
import sys
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer

from app.contracts.students import ONNX_FILE, ONNX_INPUT, ONNX_OUTPUT, TOKENIZER_FILE
from app.predictions.runtime import BATCH_TOKENS, StudentRuntime, load_student
from app.storage import BlobStore

_MEMORY = 1_500_000_000
"""Bytes of address space. A student of the largest size takes a third of it, most of that libraries."""
_SECONDS = 60
_TOO_MUCH = f"it takes more than {_MEMORY:,} bytes of memory, or {_SECONDS} s of the processor"
_THREADS = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "RAYON_NUM_THREADS"), "1")
_LONGEST = 2000


def trial_store(folder: Path) -> BlobStore:
    return BlobStore(f"file://{folder}/trial", folder / "cache")


def fault_of(folder: Path, key: str) -> str | None:
    """What keeps the student that is published as `key` in the folder's `trial_store` from serving; None if nothing does."""
    command = [sys.executable, "-m", "app.bundles.trial", str(folder), key]
    found_at = [str(Path(__file__).parents[2]), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = {**os.environ, **_THREADS, "PYTHONPATH": os.pathsep.join(found_at)}
    try:
        ran = subprocess.run(  # noqa: S603  # our own interpreter, module, folder and key; and no shell reads them
            command, env=environment, cwd=folder, capture_output=True, timeout=5 * _SECONDS, check=False
        )
        answer = json.loads(ran.stdout.decode().splitlines()[-1])
    except (subprocess.TimeoutExpired, ValueError, IndexError):
        return _TOO_MUCH
    return None if answer["fault"] is None else str(answer["fault"])


def _fault(folder: Path, key: str) -> str | None:
    store = trial_store(folder)
    try:
        student = load_student(store, key)
        student.probabilities(["a", "", "a b c " * student.manifest.max_tokens])
        student.probabilities(["a"] * BATCH_TOKENS)
        return _fault_of_signature(student, store.fetch(key) / TOKENIZER_FILE)
    except MemoryError:
        return _TOO_MUCH
    except Exception as error:  # onnxruntime's exceptions are private to it; whichever it was, this student cannot serve
        return f"the student does not run: {error}"[:_LONGEST]


def _fault_of_signature(student: StudentRuntime, tokenizer: Path) -> str | None:
    session, manifest = student.session, student.manifest
    given, made = ([(slot.name, slot.type, len(slot.shape)) for slot in slots] for slots in (session.get_inputs(), session.get_outputs()))
    if given != [(ONNX_INPUT, "tensor(int64)", 2)] or made != [(ONNX_OUTPUT, "tensor(float)", 2)]:
        return f"{ONNX_FILE} does not take {ONNX_INPUT} (B, T) and give {ONNX_OUTPUT} (B, C)"
    # The tokenizer must know no piece that the student has no vector for.
    last = max(Tokenizer.from_file(str(tokenizer)).get_vocab().values(), default=0)
    ids = np.array([[0, last], [last, manifest.pad_id], [manifest.pad_id, manifest.pad_id]], np.int64)
    logits = session.run([ONNX_OUTPUT], {ONNX_INPUT: ids})[0]
    if logits.shape != (len(ids), len(manifest.labels)) or not np.isfinite(logits).all():
        return f"its logits have the shape {logits.shape}, or are not finite; it has {len(manifest.labels)} labels"
    return None


if __name__ == "__main__":
    # Set by the process itself: code between fork and exec is not safe where the parent has threads.
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))
    resource.setrlimit(resource.RLIMIT_CPU, (_SECONDS, _SECONDS))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    print(json.dumps({"fault": _fault(Path(sys.argv[1]), sys.argv[2])}))
