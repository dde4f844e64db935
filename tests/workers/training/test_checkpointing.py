"""States on disk, whole or not at all, and when the next one is due."""

import math
import pickle
import threading
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.workers.conftest import MemoryRecorder
from workers.training.checkpointing import CheckpointClock, Checkpoints, pack_files, read_state, unpack_files, write_state

STATE: dict[str, Any] = {
    "weights": {"half": torch.arange(5).half(), "large": torch.randn(300, 40), "scalar": torch.tensor(2)},
    "lists": [1, 2.5, "three", None, [math.inf]],
}


def test_a_state_comes_back_as_it_was(tmp_path: Path) -> None:
    write_state(STATE, tmp_path / "state")
    found = read_state(tmp_path / "state")
    assert found is not None
    assert found["lists"] == STATE["lists"]
    for name, tensor in STATE["weights"].items():
        assert found["weights"][name].dtype == tensor.dtype
        assert torch.equal(found["weights"][name], tensor)
    assert [file.name for file in tmp_path.iterdir()] == ["state"]


def test_where_there_is_none_none_is_read(tmp_path: Path) -> None:
    assert read_state(tmp_path / "state") is None


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.999])
def test_a_file_that_was_cut_off_is_not_used(share: float, tmp_path: Path) -> None:
    path = tmp_path / "state"
    write_state(STATE, path)
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    assert read_state(path) is None


@pytest.mark.parametrize("share", [0.05, 0.3, 0.5, 0.7])
def test_a_file_with_a_hole_is_not_used(share: float, tmp_path: Path) -> None:
    """As a power cut leaves it: its length is right."""
    path = tmp_path / "state"
    write_state(STATE, path)
    content = bytearray(path.read_bytes())
    place = int(share * len(content))
    content[place : place + 512] = bytes(512)
    path.write_bytes(content)
    assert read_state(path) is None


def test_code_in_a_file_is_never_run(tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> tuple[Any, ...]:
            return Path.touch, (tmp_path / "sprung",)

    torch.save({"weights": Trap()}, tmp_path / "state")
    assert read_state(tmp_path / "state") is None
    (tmp_path / "state").write_bytes(pickle.dumps(Trap()))
    assert read_state(tmp_path / "state") is None
    assert not (tmp_path / "sprung").exists()


def test_a_write_that_fails_leaves_the_one_before(tmp_path: Path) -> None:
    write_state(STATE, tmp_path / "state")
    with pytest.raises(TypeError):
        write_state({"weights": torch.zeros(9), "lock": threading.Lock()}, tmp_path / "state")
    found = read_state(tmp_path / "state")
    assert found is not None
    assert found["lists"] == STATE["lists"]
    assert [file.name for file in tmp_path.iterdir()] == ["state"]


def test_a_state_goes_back_to_the_stage_that_it_is_of(tmp_path: Path) -> None:
    Checkpoints(MemoryRecorder(checkpoint=tmp_path / "state"), "one/1").offer(lambda: {"step": 3})
    assert Checkpoints(MemoryRecorder(checkpoint=tmp_path / "state"), "one/2").take() is None
    assert Checkpoints(MemoryRecorder(checkpoint=tmp_path / "state"), "one/1").take() == {"step": 3}


def test_a_state_is_made_only_if_one_is_due(tmp_path: Path) -> None:
    made: list[int] = []
    checkpoints = Checkpoints(MemoryRecorder(checkpoint=tmp_path / "state", every=3), "one/1")
    for step in range(1, 9):
        checkpoints.offer(lambda step=step: made.append(step) or {"step": step})
    assert made == [3, 6]
    assert checkpoints.take() == {"step": 6}


def test_a_checkpoint_is_due_after_a_while() -> None:
    now = 100.0
    clock = CheckpointClock(min_seconds=20, now=lambda: now)
    assert not clock.due()
    now = 119.0
    assert not clock.due()
    now = 130.0
    assert clock.due()
    with clock:
        pass
    assert not clock.due()
    now = 150.0
    assert clock.due()


def test_a_slow_disk_is_written_to_less_often() -> None:
    now = 0.0
    clock = CheckpointClock(min_seconds=20, now=lambda: now)
    with clock:
        now += 6
    now += 119
    assert not clock.due()
    now += 1
    assert clock.due()


def test_the_clock_goes_on_after_a_write_that_failed() -> None:
    now = 0.0
    clock = CheckpointClock(min_seconds=20, now=lambda: now)
    now = 20.0
    with pytest.raises(OSError, match="full"), clock:
        raise OSError("full")
    assert not clock.due()


def test_files_come_back_byte_by_byte(tmp_path: Path) -> None:
    contents = {"empty": b"", "bytes": bytes(range(256)), "text.json": b'{"a": 1}'}
    (one := tmp_path / "one").mkdir()
    (other := tmp_path / "other").mkdir()
    for name, content in contents.items():
        (one / name).write_bytes(content)
    write_state({"files": pack_files(one)}, tmp_path / "state")
    state = read_state(tmp_path / "state")
    assert state is not None
    unpack_files(state["files"], other)
    assert {file.name: file.read_bytes() for file in other.iterdir()} == contents
