"""The API key in the user's own settings file, which nobody else can read."""

import json
import os
import re
import tempfile
import tomllib
from pathlib import Path

from gendistil.errors import GendistilError
from gendistil.settings import read_file, user_file
from gendistil.transport import is_own, origin

_LINE = r"(?m)^[ \t]*{key}[ \t]*=.*(?:\n|\Z)"


def keep(key: str, url: str) -> Path:
    """Writes the key, and the address that it is for unless it is the file's already. Returns the file. Raises `GendistilError`."""
    held = read_file(user_file())
    changes: dict[str, str | None] = {"api_key": key}
    if origin(held["url"]) != origin(url) if "url" in held else not is_own(url):
        changes["url"] = url
    return _write(changes)


def forget() -> Path | None:
    """Removes the key. Returns the file; None if it held none. Raises `GendistilError`."""
    return _write({"api_key": None}) if "api_key" in read_file(user_file()) else None


def _write(changes: dict[str, str | None]) -> Path:
    """Lines of the file are replaced, all others stay as they are, comments too. None removes a key."""
    path = user_file().resolve()
    wanted = {key: value for key, value in {**read_file(path), **changes}.items() if value is not None}
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        text = path.read_text(encoding="utf-8") if path.exists() else ""
        for key, value in changes.items():
            text = re.sub(_LINE.format(key=key), "", text)
            # A JSON string of printable characters is a TOML string.
            text = text if value is None else f"{key} = {json.dumps(value)}\n{text}"
        if (written := tomllib.loads(text)).keys() != wanted.keys() or written.get("api_key") != wanted.get("api_key"):
            raise ValueError("its lines are not as expected")
        _replace(path, text)
    except (OSError, ValueError) as error:
        raise GendistilError(f"{path} cannot be changed: {error}", remedy='Write api_key = "gd_..." into it yourself.') from error
    return path


def _replace(path: Path, text: str) -> None:
    """In one step, and of mode 0600 from its first byte on."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=".config")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
