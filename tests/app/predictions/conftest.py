"""Tiny real students: an ONNX graph, a tokenizer and a manifest in a real blob store, registered in the database."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from sqlalchemy import event
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.normalizers import Lowercase
from tokenizers.pre_tokenizers import Whitespace

from app.config import Settings
from app.contracts.stages import Stage
from app.contracts.students import ONNX_FILE, ONNX_INPUT, ONNX_OUTPUT, STUDENT_MANIFEST_FILE, TOKENIZER_FILE, StudentManifest
from app.database import get_engine
from app.storage import BlobStore
from tests.app.storage.conftest import manifest_of
from tests.app.students.published import register

VOCABULARY = {"[PAD]": 0, "[UNK]": 1, "card": 2, "money": 3, "pin": 4}
LABELS = ["card", "money", "pin"]
# Each word votes for the class of its name; padding and unknown words vote for none.
VOTES = np.array([[0, 0, 0], [0, 0, 0], [4, 0, 0], [0, 4, 0], [0, 0, 4]], np.float32)
MAX_TOKENS = 6


def onnx_model(votes: np.ndarray = VOTES) -> bytes:
    """`input_ids` (B, T) -> `logits` (B, C): the sum of the words' votes."""
    nodes = [
        helper.make_node("Gather", ["votes", ONNX_INPUT], ["found"], axis=0),
        helper.make_node("ReduceSum", ["found", "axes"], [ONNX_OUTPUT], keepdims=0),
    ]
    inputs = [helper.make_tensor_value_info(ONNX_INPUT, TensorProto.INT64, ["B", "T"])]
    outputs = [helper.make_tensor_value_info(ONNX_OUTPUT, TensorProto.FLOAT, ["B", votes.shape[1]])]
    constants = [numpy_helper.from_array(votes, "votes"), numpy_helper.from_array(np.array([1], np.int64), "axes")]
    graph = helper.make_graph(nodes, "student", inputs, outputs, constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.checker.check_model(model)
    return model.SerializeToString()


def tokenizer_json() -> str:
    """Splits at spaces; as it was saved, it pads to a fixed length, which serving must not do."""
    tokenizer = Tokenizer(WordLevel(VOCABULARY, unk_token="[UNK]"))
    tokenizer.normalizer = Lowercase()
    tokenizer.pre_tokenizer = Whitespace()
    tokenizer.enable_padding(length=32)
    return tokenizer.to_str()


def student_manifest(labels: list[str] = LABELS) -> StudentManifest:
    metrics = {"accuracy": 0.9, "macro_f1": 0.88}
    return StudentManifest(
        kind="bag",
        labels=labels,
        max_tokens=MAX_TOKENS,
        pad_id=0,
        parameters=15,
        bytes=2000,
        parity={"rows": 4.0},
        metrics=metrics,
        lineage={},
    )


def store_student(
    storage: BlobStore,
    folder: Path,
    key: str,
    model: bytes | None = None,
    labels: list[str] = LABELS,
    changes: dict[str, Any] | None = None,
) -> StudentManifest:
    """Publishes a student's files as an artefact. `changes`: fields of its manifest."""
    manifest = student_manifest(labels).model_copy(update=changes or {})
    folder.mkdir(parents=True)
    (folder / ONNX_FILE).write_bytes(onnx_model() if model is None else model)
    (folder / TOKENIZER_FILE).write_text(tokenizer_json())
    (folder / STUDENT_MANIFEST_FILE).write_text(manifest.model_dump_json())
    names = (ONNX_FILE, TOKENIZER_FILE, STUDENT_MANIFEST_FILE)
    storage.publish(folder, manifest_of(folder, names, key, Stage.PUBLISH))
    return manifest


@pytest.fixture
def storage(tmp_path: Path) -> BlobStore:
    return BlobStore(f"file://{tmp_path / 'blobs'}", tmp_path / "cache")


@contextmanager
def statements() -> Iterator[list[str]]:
    """Those that this process sends to the service's database."""
    found: list[str] = []

    def note(_connection: object, _cursor: object, statement: str, *_more: object) -> None:
        found.append(statement)

    event.listen(get_engine(), "before_cursor_execute", note)
    try:
        yield found
    finally:
        event.remove(get_engine(), "before_cursor_execute", note)


Publish = Callable[..., int]


@pytest.fixture
def publish(service_env: Settings, tmp_path: Path) -> Publish:
    """Publishes a version of a student in the service's own database and blob store; returns the version."""
    from app.storage import get_storage

    count = 0

    def create(name: str = "triage", model: bytes | None = None, labels: list[str] = LABELS, changes: dict[str, Any] | None = None) -> int:
        nonlocal count
        count += 1
        key = f"key-{count}"
        manifest = store_student(get_storage(), tmp_path / key, key, model, labels, changes)
        return register(name, f"job_{count}", key, manifest.model_dump(mode="json"), dict.fromkeys(LABELS, 5))

    return create
