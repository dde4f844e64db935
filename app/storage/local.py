"""Blobs in a local or network folder: written beside their place, flushed to the disk, then renamed."""

import errno
import os
import shutil
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

from app.storage.blobs import Blob, part_name


class LocalBlobs:
    """See `Blobs`."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def path(self, name: str) -> str:
        return str(self.root / name)

    def exists(self, name: str) -> bool:
        return (self.root / name).exists()

    def read(self, name: str) -> bytes:
        return (self.root / name).read_bytes()

    def write(self, name: str, content: bytes, *, durable: bool = True) -> None:
        self._place(self.root / name, lambda part: part.write_bytes(content), durable)

    def upload(self, source: Path, name: str) -> None:
        self._place(self.root / name, lambda part: shutil.copyfile(source, part), True)

    def download(self, name: str, target: Path) -> None:
        shutil.copyfile(self.root / name, target)

    def list(self, folder: str) -> Iterator[Blob]:
        for parent, _, names in os.walk(self.root / folder):
            for name in names:
                path = Path(parent, name)
                try:
                    stat = path.stat()
                except FileNotFoundError:  # another process moved or removed it
                    continue
                yield Blob(path.relative_to(self.root).as_posix(), stat.st_size, datetime.fromtimestamp(stat.st_mtime, UTC))

    def remove(self, name: str) -> None:
        (self.root / name).unlink(missing_ok=True)

    def remove_folder(self, folder: str) -> None:
        """At once for everyone else: renamed first."""
        path = self.root / folder
        part = Path(part_name(str(path)))
        try:
            path.rename(part)
        except FileNotFoundError:
            return
        remove_tree(part)

    def free_bytes(self) -> int | None:
        return free_bytes(self.root)

    def _place(self, target: Path, fill: Callable[[Path], object], durable: bool) -> None:
        target.parent.mkdir(parents=True, exist_ok=True)
        part = Path(part_name(str(target)))
        try:
            fill(part)
            if durable:
                sync(part)
            part.replace(target)
        except BaseException:
            part.unlink(missing_ok=True)
            raise
        if durable:
            sync(target.parent)


def sync(path: Path) -> None:
    """Waits until a file's content, or a folder's names, are on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        # Some network file systems have no such thing for folders.
        if error.errno not in {errno.EINVAL, errno.ENOTSUP} or not path.is_dir():
            raise
    finally:
        os.close(descriptor)


def remove_tree(path: Path) -> None:
    """A folder or a file. That it is missing, or that another process removes it meanwhile, is no error."""
    while path.exists():
        try:
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        except FileNotFoundError:
            continue


def free_bytes(folder: Path) -> int:
    """Of the disk that holds the folder, or will hold it once it is made."""
    while not folder.exists():
        folder = folder.parent
    return shutil.disk_usage(folder).free
