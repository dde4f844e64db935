"""The folder that one attempt works in, and the removal of those that killed processes left behind."""

import fcntl
import os
import shutil
import time
import uuid
from contextlib import suppress
from pathlib import Path

_UNLOCKED_SECONDS = 60
"""For which a folder may be there without its lock."""


class Scratch:
    """`out` is for what is made, `path` around it for anything else.

    The lock on the folder ends with its process, however that ends. So leftovers are told from folders in use, also by another container
    that has the same disk, where process ids mean nothing.
    """

    def __init__(self, work: Path, name: str) -> None:
        self.path = work / f"{name}-{uuid.uuid4().hex}"
        self.out = self.path / "out"
        self._lock: int | None = None

    def make(self) -> None:
        """Raises `OSError`, also if the disk is full."""
        new = self.path.with_name(f".{self.path.name}")  # it gets its name once it has its lock
        (new / self.out.name).mkdir(parents=True)
        self._lock = os.open(new, os.O_RDONLY)
        with suppress(OSError):  # a disk that has no such locks; nobody else can lock the folder then
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        new.rename(self.path)

    def remove(self) -> None:
        shutil.rmtree(self.path, ignore_errors=True)
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None


def remove_leftovers(work: Path) -> int:
    """Removes from `work` what no living process has locked; returns how many folders and files."""
    removed = 0
    for path in list(work.iterdir()) if work.is_dir() else []:
        with suppress(OSError):  # it is locked, or another worker removes it too
            if path.name.startswith(".") and time.time() - path.stat().st_mtime < _UNLOCKED_SECONDS:
                continue
            lock = os.open(path, os.O_RDONLY)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(path) if path.is_dir() else path.unlink()
                removed += 1
            finally:
                os.close(lock)
    return removed
