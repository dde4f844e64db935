"""Blobs in an object store (S3 and its like), through fsspec. One put is whole or nothing there, so nothing is moved."""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import fsspec

from app.storage.blobs import Blob
from app.storage.errors import StorageAway

# s3fs turns the answers 500, 503 and 409 into these.
_BUSY = {errno.EREMOTEIO, errno.EBUSY, errno.EIO}
# What the drivers call the time of the last change: s3fs, gcsfs, adlfs, and fsspec's own.
_MODIFIED = ("LastModified", "updated", "last_modified", "mtime", "modified", "created")


class RemoteBlobs:
    """See `Blobs`. Credentials and endpoint come from the environment, as the driver reads them."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._connect()

    def _connect(self) -> None:
        # Without the listings cache, which would hide what other processes write.
        self._fs, root = fsspec.core.url_to_fs(self._url, use_listings_cache=False, skip_instance_cache=True)
        self.root = str(root).rstrip("/")
        self._pid = os.getpid()
        self._away, self._no_credentials = _driver_errors(self._fs.protocol)
        if "s3" in self._fs.protocol:
            # Each of s3fs's tries is already several of botocore's: a server that hangs would hold a caller for minutes.
            self._fs.retries = 2

    @property
    def fs(self) -> Any:
        """The driver; of this process, since connections do not survive a fork."""
        if self._pid != os.getpid():
            self._connect()
        return self._fs

    def path(self, name: str) -> str:
        return f"{self.root}/{name}"

    def exists(self, name: str) -> bool:
        with self._asking():
            return bool(self.fs.exists(self.path(name)))

    def read(self, name: str) -> bytes:
        with self._asking():
            content: bytes = self.fs.cat_file(self.path(name))
            return content

    def write(self, name: str, content: bytes, *, durable: bool = True) -> None:
        with self._asking():
            self.fs.pipe_file(self.path(name), content)

    def create(self, name: str, content: bytes) -> bool:
        """Writes unless there is such a blob already, and says whether it did."""
        with self._asking():
            try:
                self.fs.pipe_file(self.path(name), content, mode="create")
            except FileExistsError:
                return False
            return True

    def upload(self, source: Path, name: str) -> None:
        with self._asking():
            self.fs.put_file(str(source), self.path(name))

    def download(self, name: str, target: Path) -> None:
        with self._asking():
            self.fs.get_file(self.path(name), str(target))

    def list(self, folder: str) -> Iterator[Blob]:
        with self._asking():
            found: dict[str, dict[str, Any]] = self.fs.find(self.path(folder), detail=True)
        for path, info in found.items():
            yield Blob(path.removeprefix(f"{self.root}/"), int(info["size"] or 0), _modified(info))

    def remove(self, name: str) -> None:
        with self._asking():
            try:
                self.fs.rm_file(self.path(name))
            except FileNotFoundError as error:
                _raise_if_bucket_is_missing(error)

    def remove_folder(self, folder: str) -> None:
        names = [self.path(blob.name) for blob in self.list(folder)]
        if names:
            with self._asking():
                self.fs.rm(names)

    def free_bytes(self) -> int | None:
        return None

    @contextmanager
    def _asking(self) -> Iterator[None]:
        """Tells errors apart; see `STORAGE_AWAY`."""
        try:
            yield
        except self._no_credentials as error:
            raise PermissionError(errno.EACCES, f"{error}; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY", self._url) from error
        except FileNotFoundError as error:
            _raise_if_bucket_is_missing(error)
            raise
        except self._away as error:
            raise StorageAway(f"{self._url} does not answer: {error or type(error).__name__}") from error
        except OSError as error:
            if error.errno in _BUSY:
                raise StorageAway(f"{self._url} failed: {error}") from error
            raise


def _driver_errors(protocol: str | tuple[str, ...]) -> tuple[tuple[type[Exception], ...], tuple[type[Exception], ...]]:
    """Exceptions that mean 'away' and 'no credentials', some of which are no `OSError`."""
    away: tuple[type[Exception], ...] = (ConnectionError, TimeoutError)
    if "s3" not in protocol:
        return away, ()
    # Only where s3fs is in use, and so installed.
    from aiohttp import ClientError
    from botocore import exceptions

    away += (ClientError, exceptions.ConnectionError, exceptions.HTTPClientError)
    # A broken transfer, and a machine's role that gives out no credentials at this moment.
    away += (exceptions.IncompleteReadError, exceptions.ChecksumError, exceptions.CredentialRetrievalError)
    return away, (exceptions.NoCredentialsError, exceptions.PartialCredentialsError)


def _raise_if_bucket_is_missing(error: FileNotFoundError) -> None:
    """A store without its bucket has not lost one blob: nobody should start to make all of them anew."""
    answer = getattr(error.__cause__, "response", None) or {}
    if answer.get("Error", {}).get("Code") == "NoSuchBucket":
        raise StorageAway(str(error)) from error


def _modified(info: dict[str, Any]) -> datetime:
    value = next((info[name] for name in _MODIFIED if info.get(name) is not None), None)
    if isinstance(value, str):
        value = datetime.fromisoformat(value)
    if isinstance(value, int | float):
        return datetime.fromtimestamp(value, UTC)
    # Unknown: nothing may take it for old.
    return value.astimezone(UTC) if isinstance(value, datetime) else datetime.now(UTC)
