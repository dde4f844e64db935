"""What holds where a command is told nothing: the environment, then `./gendistil.toml`, then the user's own file, then defaults."""

import os
import tomllib
from dataclasses import dataclass, field
from pathlib import Path

from gendistil.errors import GendistilError
from gendistil.transport import DEFAULT_URL, is_own, origin

PROJECT_FILE = Path("gendistil.toml")
DEFAULTS: dict[str, str | None] = {"url": DEFAULT_URL, "data_dir": ".gendistil", "preset": None, "api_key": None}
"""By key of the files; a `preset` of None is the service's own."""
SECRET = frozenset({"api_key"})
"""Keys whose values are shown nowhere."""


@dataclass(frozen=True)
class Setting:
    """`source`: `option`, a variable's name, a file, or `default`."""

    key: str
    value: str | None = field(repr=False)
    source: str

    @property
    def chosen(self) -> bool:
        return self.source != "default"

    @property
    def shown(self) -> str | None:
        """For people to read."""
        return "(set)" if self.value and self.key in SECRET else self.value


def resolve(key: str, option: str | os.PathLike[str] | None = None) -> Setting:
    """What holds for a key. Raises `GendistilError` if a file is wrong."""
    if option is not None:
        return Setting(key, os.fspath(option), "option")
    if value := os.environ.get(variable(key)):
        return Setting(key, value, variable(key))
    for path in (PROJECT_FILE, user_file()):
        if (value := read_file(path).get(key)) is not None:
            return Setting(key, value, str(path))
    return Setting(key, DEFAULTS[key], "default")


def data_dir(option: Path | None = None) -> Path:
    return Path(resolve("data_dir", option).value or ".").expanduser().absolute()


def api_key(url: str) -> str | None:
    """The key for a service. Raises `GendistilError` if a file is wrong.

    One in a file is for the `url` of that same file, or without one for services on this machine: a file in a folder from elsewhere
    can name an address, and must not get the user's key there.
    """
    found = api_key_setting(url)
    return found.value if found else None


def api_key_setting(url: str) -> Setting | None:
    """As `api_key`, with where it comes from."""
    if value := os.environ.get(variable("api_key")):
        return Setting("api_key", value, variable("api_key"))
    for path in (PROJECT_FILE, user_file()):
        held = read_file(path)
        if (value := held.get("api_key")) and (origin(held["url"]) == origin(url) if "url" in held else is_own(url)):
            return Setting("api_key", value, str(path))
    return None


def variable(key: str) -> str:
    return f"GENDISTIL_{key.upper()}"


def user_file() -> Path:
    """By the XDG Base Directory Specification."""
    base = os.environ.get("XDG_CONFIG_HOME", "")
    return (Path(base) if Path(base).is_absolute() else Path.home() / ".config") / "gendistil" / "config.toml"


def read_file(path: Path) -> dict[str, str]:
    """Its settings; none if there is no such file. A folder in it is meant from where the file lies. Raises `GendistilError`."""
    try:
        found = tomllib.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except (OSError, ValueError) as error:
        raise GendistilError(f"{path} cannot be read: {error}", remedy='Mend the file: lines such as url = "http://..."') from error
    for key, value in found.items():
        if key not in DEFAULTS:
            raise GendistilError(f"{path} has an unknown key {key!r}.", remedy=f"The keys are {', '.join(DEFAULTS)}.")
        if not isinstance(value, str):
            raise GendistilError(f"{path}: {key} is no text.", remedy=f'Write {key} = "..."')
    if "data_dir" in found:
        found["data_dir"] = str(path.absolute().parent / Path(found["data_dir"]).expanduser())
    return found
