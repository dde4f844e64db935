"""What a caller is told of each failure, and what is tried again."""

import errno
from pathlib import Path

import pytest
import torch
from sqlalchemy.exc import OperationalError
from tokenizers import Tokenizer
from tokenizers.models import BPE

from app.contracts.stages import Stage
from app.storage import TornArtefact
from app.web.job import SPEC_AT_FAULT
from workers.execution import Lost
from workers.failures import classify
from workers.models import ModelUnavailable
from workers.training.onnx_export import ParityError

FAILURES = [
    (ModelUnavailable("no model"), "model-unavailable", False),
    (ParityError("differs"), "parity", False),
    (FloatingPointError("nan"), "diverged", False),
    (torch.OutOfMemoryError("CUDA out of memory"), "out-of-memory", True),
    (MemoryError(), "out-of-memory", True),
    (TornArtefact("torn"), "torn-artefact", False),
    (Lost((Stage.GENERATE,), "artefact 12ab is gone"), "torn-artefact", False),
    (OperationalError("SELECT secret", {}, Exception("password=hunter2")), "database-unavailable", True),
    (OSError(errno.ENOSPC, "No space left on device"), "disk-full", False),
    (PermissionError(errno.EACCES, "Permission denied"), "storage-unavailable", True),
    (ConnectionResetError("reset"), "storage-unavailable", True),
    (OSError(errno.ENOMEM, "Cannot allocate memory"), "out-of-memory", True),
    (ValueError("raise spec.distil.max_parameters"), "invalid-spec", False),
    (KeyError("label"), "internal-error", False),
    (RuntimeError("odd"), "internal-error", False),
]


@pytest.mark.parametrize(("error", "kind", "retry"), FAILURES, ids=lambda value: value if isinstance(value, str) else type(value).__name__)
def test_each_failure_has_a_type_a_detail_and_a_remedy(error: Exception, kind: str, retry: bool) -> None:
    failure = classify(error)
    assert (failure.type, failure.retry) == (kind, retry)
    assert failure.detail
    assert failure.remedy.endswith(".")
    assert failure.as_error() == {"type": kind, "detail": failure.detail, "remedy": failure.remedy}


def test_what_the_system_refused_to_a_library_in_rust_is_told_as_such(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(Exception, match="os error") as away:
        Tokenizer.from_file(str(tmp_path / "file" / "tokenizer.json"))
    assert classify(away.value).type == "storage-unavailable"
    with pytest.raises(Exception, match="os error") as full:
        Tokenizer(BPE()).save("/dev/full")
    assert classify(full.value).type == "disk-full"


def test_a_databases_own_words_are_not_passed_on() -> None:
    assert "hunter2" not in classify(FAILURES[7][0]).detail


def test_an_error_without_words_is_named() -> None:
    assert classify(MemoryError()).detail == "MemoryError"
    assert classify(KeyError("label")).detail == "KeyError: 'label'"


def test_where_another_spec_is_asked_for_the_page_does_not_offer_the_same_first() -> None:
    asked = {kind for error, kind, _ in FAILURES if "submit again" in classify(error).remedy.lower()}
    assert asked
    assert asked <= SPEC_AT_FAULT <= {kind for _, kind, _ in FAILURES}


def test_only_a_lack_of_memory_asks_for_smaller_batches() -> None:
    assert [kind for error, kind, _ in FAILURES if classify(error).shrink] == ["out-of-memory"] * 3
