"""Folders in which stages work, and what is left of them when their process dies."""

import multiprocessing
import os
import signal
import time
from multiprocessing.synchronize import Event
from pathlib import Path

import pytest

from workers.scratch import Scratch, remove_leftovers


def _work(folder: Path, made: Event) -> None:
    scratch = Scratch(folder, "distil")
    scratch.make()
    (scratch.out / "student.safetensors").write_bytes(b"half")
    made.set()
    signal.pause()  # until it is killed


def test_only_what_a_killed_process_left_is_removed(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    made = context.Event()
    process = context.Process(target=_work, args=(tmp_path, made), daemon=True)
    process.start()
    assert made.wait(60)
    own = Scratch(tmp_path, "publish")
    own.make()
    assert remove_leftovers(tmp_path) == 0
    assert len(list(tmp_path.glob("*/out"))) == 2
    process.kill()
    process.join()
    assert remove_leftovers(tmp_path) == 1
    assert list(tmp_path.iterdir()) == [own.path]
    own.remove()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("seconds", "removed"), [(0, 0), (120, 1)])
def test_a_folder_without_its_lock_yet_is_left_alone_for_a_while(tmp_path: Path, seconds: float, removed: int) -> None:
    new = tmp_path / ".distil-1"
    new.mkdir()
    os.utime(new, (time.time() - seconds,) * 2)
    assert remove_leftovers(tmp_path) == removed


def test_there_may_be_no_folder_yet(tmp_path: Path) -> None:
    assert remove_leftovers(tmp_path / "work") == 0
