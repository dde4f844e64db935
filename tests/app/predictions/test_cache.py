"""Students kept hot. The cache is asked with real students; only their loading is watched."""

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from app.predictions.cache import StudentCache
from app.predictions.runtime import BrokenStudent, StudentRuntime, load_student
from app.storage import BlobStore
from tests.app.predictions.conftest import store_student


@pytest.fixture
def size(storage: BlobStore, tmp_path: Path) -> int:
    """Stores the students a, b and c; their common size."""
    for key in "abc":
        store_student(storage, tmp_path / key, key)
    return load_student(storage, "a").bytes


def test_the_least_recently_used_goes_first(storage: BlobStore, size: int) -> None:
    cache = StudentCache(lambda key: load_student(storage, key), 2 * size)
    first = cache.get("a")
    cache.get("b")
    assert cache.get("a") is first
    cache.get("c")
    assert cache.keys() == ["a", "c"]


def test_a_student_larger_than_the_cache_is_still_served(storage: BlobStore, size: int) -> None:
    cache = StudentCache(lambda key: load_student(storage, key), size // 2)
    assert cache.get("a").bytes == size
    cache.get("b")
    assert cache.keys() == ["b"]


def test_concurrent_first_requests_load_once(storage: BlobStore, size: int) -> None:
    loads: list[str] = []
    release = threading.Event()

    def load(key: str) -> StudentRuntime:
        loads.append(key)
        if key == "a":
            assert release.wait(30)
        return load_student(storage, key)

    cache = StudentCache(load, 10 * size)
    with ThreadPoolExecutor(8) as pool:
        waiting = [pool.submit(cache.get, "a") for _ in range(7)]
        assert pool.submit(cache.get, "b").result(30).bytes == size  # another student is not kept waiting
        release.set()
        found = {id(future.result(30)) for future in waiting}
    assert len(found) == 1
    assert sorted(loads) == ["a", "b"]


def test_a_failure_is_told_and_the_next_call_tries_again(storage: BlobStore, tmp_path: Path) -> None:
    cache = StudentCache(lambda key: load_student(storage, key), 10**9)
    with pytest.raises(BrokenStudent):
        cache.get("late")
    store_student(storage, tmp_path / "late", "late")
    assert cache.get("late").manifest.kind == "bag"
