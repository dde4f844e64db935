"""Where the command line's settings come from."""

import json
from pathlib import Path

import pytest

from gendistil.errors import GendistilError
from gendistil.settings import data_dir, resolve, user_file
from tests.gendistil.test_cli import gendistil


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder to work in, beside a user's settings."""
    for key in ("URL", "DATA_DIR", "PRESET"):
        monkeypatch.delenv(f"GENDISTIL_{key}", raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    user_file().parent.mkdir(parents=True)
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    return tmp_path


def test_the_nearest_place_holds(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert (resolve("url").value, resolve("url").source, resolve("preset").value) == ("http://127.0.0.1:8000", "default", None)
    assert data_dir() == home / "here" / ".gendistil"
    user_file().write_text('url = "http://user:1"\npreset = "thorough"\ndata_dir = "data"\n')
    assert (resolve("url").value, resolve("url").source) == ("http://user:1", str(user_file()))
    assert data_dir() == user_file().parent / "data"
    Path("gendistil.toml").write_text('url = "http://project:1"\n')
    assert (resolve("url").value, resolve("preset").value) == ("http://project:1", "thorough")
    monkeypatch.setenv("GENDISTIL_URL", "http://variable:1")
    assert (resolve("url").value, resolve("url").source) == ("http://variable:1", "GENDISTIL_URL")
    assert (resolve("url", "http://option:1").value, resolve("url", "http://option:1").source) == ("http://option:1", "option")
    assert data_dir(Path("mine")) == home / "here" / "mine"


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("url = ", "cannot be read"),
        ('adress = "x"', "unknown key 'adress'. The keys are url, data_dir, preset."),
        ("url = 3", "is no text"),
    ],
)
def test_a_wrong_file_is_told(home: Path, content: str, expected: str) -> None:
    Path("gendistil.toml").write_text(content)
    with pytest.raises(GendistilError, match=r"^gendistil\.toml") as caught:
        resolve("url")
    assert expected in str(caught.value)


def test_the_command_shows_what_holds(home: Path) -> None:
    Path("gendistil.toml").write_text('preset = "balanced"\n')
    shown = gendistil("config", "--json", cwd=Path(), GENDISTIL_URL="http://127.0.0.1:9")
    held = json.loads(shown.stdout)["settings"]
    assert held["preset"] == {"value": "balanced", "source": "gendistil.toml"}
    assert held["url"] == {"value": "http://127.0.0.1:9", "source": "GENDISTIL_URL"}
    assert held["data_dir"]["source"] == "default"
    assert "balanced" in gendistil("config", cwd=Path()).stdout
    Path("gendistil.toml").write_text("[table]\n")
    for arguments in (("config",), ("jobs",), ("down",), ("doctor",), ("up",)):
        refused = gendistil(*arguments, cwd=Path())
        assert (refused.returncode, refused.stdout) == (1, ""), arguments
        assert "unknown key 'table'" in refused.stderr
        assert "Traceback" not in refused.stderr
