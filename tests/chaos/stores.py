"""Blob stores that go away for a moment, and whose blobs can be damaged."""

import random
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from s3fs import S3FileSystem

from tests.chaos.door import Door
from tests.servers import S3Server, s3_server

_BUCKET = "chaos"
MANIFEST = "manifest.json"


class Store(Protocol):
    """`env`: what the service needs to find it."""

    env: dict[str, str]

    def names(self) -> list[str]:
        """Of all blobs, relative to the root."""

    def read(self, name: str) -> bytes: ...

    def away(self, seconds: float, rng: random.Random) -> None:
        """Fails whoever asks, for so long."""

    def damage(self, key: str, rng: random.Random) -> str | None:
        """Changes one byte of one file of an artefact; the file's name, or None if there is nothing to damage."""


class LocalStore:
    """A folder behind a link; while it is away the link leads to a file, so that nothing can be read or written under it."""

    def __init__(self, data_dir: Path) -> None:
        self._folder, self._file, self._link = data_dir / "store", data_dir / "away", data_dir / "blobs"
        self.env = {"STORAGE_URL": f"file://{self._link}"}

    @classmethod
    @contextmanager
    def made(cls, data_dir: Path) -> Iterator["LocalStore"]:
        store = cls(data_dir)
        store._folder.mkdir()
        store._file.touch()
        store._point_to(store._folder)
        yield store

    def names(self) -> list[str]:
        return sorted(path.relative_to(self._folder).as_posix() for path in self._folder.rglob("*") if path.is_file())

    def read(self, name: str) -> bytes:
        return (self._folder / name).read_bytes()

    def away(self, seconds: float, _rng: random.Random) -> None:
        self._point_to(self._file)
        time.sleep(seconds)
        self._point_to(self._folder)

    def damage(self, key: str, rng: random.Random) -> str | None:
        folder = self._folder / "artefacts" / key
        files = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != MANIFEST and path.stat().st_size)
        if not files:
            return None
        chosen = rng.choice(files)
        with chosen.open("r+b") as file:
            place = rng.randrange(chosen.stat().st_size)
            file.seek(place)
            (byte,) = file.read(1)
            file.seek(place)
            file.write(bytes([byte ^ 1]))
        return chosen.relative_to(folder).as_posix()

    def _point_to(self, target: Path) -> None:
        """At once: there is no moment without a link."""
        link = self._link.with_name("blobs.new")
        link.symlink_to(target)
        link.replace(self._link)


class S3Store:
    """A bucket behind a door; while it is away the door is shut, or the server answers nothing."""

    def __init__(self, server: S3Server, door: Door) -> None:
        self._server, self._door = server, door
        # A moment's absence must reach the service, and not end in the driver's own patience.
        address = {"AWS_ENDPOINT_URL": f"http://127.0.0.1:{door.port}", "AWS_MAX_ATTEMPTS": "1"}
        self.env = {**server.environment(), **address, "STORAGE_URL": f"s3://{_BUCKET}/blobs"}
        known = server.environment()
        self._fs = S3FileSystem(
            endpoint_url=server.url, key=known["AWS_ACCESS_KEY_ID"], secret=known["AWS_SECRET_ACCESS_KEY"], use_listings_cache=False
        )

    @classmethod
    @contextmanager
    def running(cls) -> Iterator["S3Store"]:
        with s3_server() as server, Door(server.port) as door:
            server.make_bucket(_BUCKET)
            yield cls(server, door)

    def names(self) -> list[str]:
        root = f"{_BUCKET}/blobs/"
        return sorted(name.removeprefix(root) for name in self._fs.find(root))

    def read(self, name: str) -> bytes:
        return bytes(self._fs.cat_file(f"{_BUCKET}/blobs/{name}"))

    def away(self, seconds: float, rng: random.Random) -> None:
        leave, come_back = rng.choice([(self._door.shut, self._door.open), (self._server.pause, self._server.resume)])
        leave()
        time.sleep(seconds)
        come_back()

    def damage(self, key: str, rng: random.Random) -> str | None:
        folder = f"{_BUCKET}/blobs/artefacts/{key}/"
        files = [name for name in sorted(self._fs.find(folder)) if not name.endswith(f"/{MANIFEST}")]
        if not files:
            return None
        chosen = rng.choice(files)
        content = bytearray(self._fs.cat_file(chosen))
        content[rng.randrange(len(content))] ^= 1
        self._fs.pipe_file(chosen, bytes(content))
        return str(chosen.removeprefix(folder))
