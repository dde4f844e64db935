"""SHA-256 of files, computed once a process for a file that does not change."""

import hashlib
from pathlib import Path

from app.contracts.artefacts import FileEntry


def file_sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


class VerifiedFiles:
    """Remembers which files matched their hash, so that a second look costs one `stat`. Safe to share between threads."""

    def __init__(self) -> None:
        self._seen: dict[Path, tuple[int, int, int, str]] = {}

    def matches(self, path: Path, entry: FileEntry) -> bool:
        """Whether the file is there with the size and hash of `entry`."""
        try:
            # Before the hash: a change made while the file is read then shows at the next look.
            found = _identity(path, entry)
            if self._seen.get(path) == found:
                return True
            if path.stat().st_size != entry.bytes or file_sha256(path) != entry.sha256:
                return False
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
            return False
        self._seen[path] = found
        return True

    def trust(self, path: Path, entry: FileEntry) -> None:
        """For a file that the caller has checked itself."""
        self._seen[path] = _identity(path, entry)


def _identity(path: Path, entry: FileEntry) -> tuple[int, int, int, str]:
    stat = path.stat()
    # The change time too, which a program cannot set back as it can the modification time.
    return stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, entry.sha256
