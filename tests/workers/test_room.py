"""A stage that will not fit is refused before it starts."""

import errno
from pathlib import Path

import pytest

from app.contracts.spec import JobSpec
from app.contracts.stages import Stage
from app.storage import BlobStore
from tests.workers.tiny import make_rows
from workers.failures import classify
from workers.room import check_room
from workers.training.split import split_rows


class FullStore(BlobStore):
    """A store on a disk with a megabyte left."""

    def free_bytes(self) -> int | None:
        return 1_000_000


def test_a_stage_without_room_is_refused_with_figures(tmp_path: Path) -> None:
    spec = JobSpec()
    split = split_rows(make_rows(20), [], spec.split)
    check_room(Stage.FINETUNE_TEACHER, spec, split, False, BlobStore(f"file://{tmp_path}", tmp_path / "cache"))
    with pytest.raises(OSError, match=r"finetune_teacher will write about \d+ MB, and the blob store has 1 MB left") as caught:
        check_room(Stage.FINETUNE_TEACHER, spec, split, False, FullStore(f"file://{tmp_path}", tmp_path / "cache"))
    assert caught.value.errno == errno.ENOSPC
    failure = classify(caught.value)
    assert (failure.type, failure.retry) == ("disk-full", False)


def test_a_model_of_unknown_size_is_let_through(tmp_path: Path) -> None:
    spec = JobSpec.model_validate({"teacher": {"model": "owner/encoder"}})
    split = split_rows(make_rows(20), [], spec.split)
    check_room(Stage.FINETUNE_TEACHER, spec, split, False, FullStore(f"file://{tmp_path}", tmp_path / "cache"))
