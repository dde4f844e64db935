"""What a place for blobs offers, whatever keeps them."""

import uuid
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import NamedTuple, Protocol

PART = ".part"


class Blob(NamedTuple):
    name: str
    bytes: int
    modified: datetime
    """UTC."""


class Blobs(Protocol):
    """Blobs by name. Names are relative, with `/` between folders. What is written appears whole or not at all."""

    def path(self, name: str) -> str: ...

    def exists(self, name: str) -> bool: ...

    def read(self, name: str) -> bytes:
        """Raises `FileNotFoundError`."""

    def write(self, name: str, content: bytes, *, durable: bool = True) -> None:
        """Replaces what is there. Not `durable`: a loss of power may undo or tear it."""

    def upload(self, source: Path, name: str) -> None:
        """Stores a copy of a local file, and replaces what is there."""

    def download(self, name: str, target: Path) -> None:
        """Copies into a local file, whose folder must exist. Raises `FileNotFoundError`."""

    def list(self, folder: str) -> Iterator[Blob]:
        """All blobs below the folder at any depth, in no order; none if there is no such folder."""

    def remove(self, name: str) -> None:
        """One blob; a missing one is no error."""

    def remove_folder(self, folder: str) -> None:
        """All blobs below the folder, or one blob; a missing one is no error."""

    def free_bytes(self) -> int | None:
        """Room that is left, None where there is no telling."""


def part_name(name: str) -> str:
    """Beside `name`, unlike any other."""
    return f"{name}.{uuid.uuid4().hex}{PART}"
