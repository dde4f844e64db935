"""Requests that share a call, with real students."""

import asyncio
from pathlib import Path

import numpy as np
import pytest

from app.predictions import batching as module
from app.predictions.batching import MAX_SHARED, Batcher, Scored
from app.predictions.runtime import BrokenStudent, StudentRuntime, load_student
from app.storage import BlobStore
from tests.app.predictions.conftest import LABELS, VOTES, onnx_model, store_student


@pytest.fixture
def student(storage: BlobStore, tmp_path: Path) -> StudentRuntime:
    store_student(storage, tmp_path / "student", "key")
    return load_student(storage, "key")


def run(student: StudentRuntime, requests: list[list[str]]) -> tuple[list[Scored | BaseException], list[int]]:
    """Sends all at once; what each gets, and the sizes of the calls."""
    calls: list[int] = []

    async def send() -> list[Scored | BaseException]:
        batcher = Batcher(2, calls.append)
        try:
            return await asyncio.gather(*(batcher.run("key", student, texts) for texts in requests), return_exceptions=True)
        finally:
            batcher.close()

    return asyncio.run(send()), calls


def check(student: StudentRuntime, requests: list[list[str]], found: list[Scored | BaseException]) -> None:
    for texts, scored in zip(requests, found, strict=True):
        assert isinstance(scored, Scored)
        np.testing.assert_allclose(scored.probabilities, student.probabilities(texts), rtol=1e-6)


def test_single_texts_that_arrive_together_share_a_call(student: StudentRuntime) -> None:
    requests = [[f"{LABELS[number % 3]} hello"] for number in range(20)]
    found, calls = run(student, requests)
    check(student, requests, found)
    assert calls == [20]


def test_a_shared_call_has_a_limit(student: StudentRuntime) -> None:
    requests = [[LABELS[number % 3], "hello", "card"] for number in range(60)]
    found, calls = run(student, requests)
    check(student, requests, found)
    assert sum(calls) == 180
    assert max(calls) <= MAX_SHARED


def test_large_requests_are_cut_and_keep_their_order(student: StudentRuntime, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PART_SECONDS", 0.0)
    requests = [[LABELS[number % 3] for number in range(100)], [LABELS[(number + 1) % 3] for number in range(70)], ["card"]]
    found, calls = run(student, requests)
    check(student, requests, found)
    assert sorted(calls) == [1, 4, 6, 32, 32, 32, 32, 32]


def test_slow_students_run_in_threads(student: StudentRuntime, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "INLINE_SECONDS", -1.0)
    requests = [[f"{LABELS[number % 3]} hello"] for number in range(100)]
    found, calls = run(student, requests)
    check(student, requests, found)
    assert calls == [64, 36]


@pytest.mark.parametrize("inline_seconds", [-1.0, 60.0])
def test_a_text_at_fault_fails_alone(storage: BlobStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, inline_seconds: float) -> None:
    monkeypatch.setattr(module, "INLINE_SECONDS", inline_seconds)
    votes = VOTES.copy()
    votes[4] = np.nan
    store_student(storage, tmp_path / "student", "key", onnx_model(votes))
    student = load_student(storage, "key")
    good, bad, last = run(student, [["card"], ["pin"], ["money"]])[0]
    check(student, [["card"], ["money"]], [good, last])
    assert isinstance(bad, BrokenStudent)


def test_a_caller_that_gives_up_does_not_disturb_the_others(student: StudentRuntime) -> None:
    async def send() -> Scored:
        batcher = Batcher(1)
        gone = asyncio.create_task(batcher.run("key", student, ["card"]))
        stays = asyncio.create_task(batcher.run("key", student, ["money"]))
        asyncio.get_running_loop().call_soon(gone.cancel)
        try:
            answer = await stays
            with pytest.raises(asyncio.CancelledError):
                await gone
            return answer
        finally:
            batcher.close()

    check(student, [["money"]], [asyncio.run(send())])
