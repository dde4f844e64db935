"""A zip that is written while it is sent, the same bytes each time."""

import io
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import BinaryIO

_CHUNK = 1 << 18
_UNIX = 3


def zipped(parts: Mapping[str, Path | bytes]) -> Iterator[bytes]:
    """Chunks of an archive that holds the parts by name. Raises `FileNotFoundError`.

    All files are opened at once: they are sent whole even if someone removes them meanwhile.
    """
    opened: dict[str, BinaryIO] = {
        name: io.BytesIO(part) if isinstance(part, bytes) else part.open("rb")  # closed by _chunks
        for name, part in parts.items()
    }
    return _chunks(opened)


def _chunks(opened: Mapping[str, BinaryIO]) -> Iterator[bytes]:
    sink = _Sink()
    try:
        with zipfile.ZipFile(sink, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, source in opened.items():
                with archive.open(_entry(name), "w") as member:
                    while chunk := source.read(_CHUNK):
                        member.write(chunk)
                        yield sink.taken()
        yield sink.taken()
    finally:
        for source in opened.values():
            source.close()


def _entry(name: str) -> zipfile.ZipInfo:
    # Its date is 1980-01-01, always.
    entry = zipfile.ZipInfo(name)
    entry.compress_type, entry.create_system, entry.external_attr = zipfile.ZIP_DEFLATED, _UNIX, 0o644 << 16
    return entry


class _Sink:
    """Takes what `ZipFile` writes. It cannot seek, so the sizes follow each member."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []

    def write(self, data: bytes) -> int:
        self._parts.append(bytes(data))
        return len(data)

    def flush(self) -> None:
        """Nothing is held back."""

    def close(self) -> None:
        """Nothing is held open."""

    def taken(self) -> bytes:
        data = b"".join(self._parts)
        self._parts.clear()
        return data
