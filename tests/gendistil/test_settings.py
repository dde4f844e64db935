"""Where the command line's settings come from."""

import json
from pathlib import Path

import pytest

from gendistil.credentials import forget, keep
from gendistil.errors import GendistilError
from gendistil.settings import api_key, data_dir, resolve, user_file
from tests.gendistil.test_cli import gendistil


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder to work in, beside a user's settings."""
    for key in ("URL", "DATA_DIR", "PRESET", "API_KEY"):
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
        ('adress = "x"', "unknown key 'adress'. The keys are url, data_dir, preset, api_key."),
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


def test_a_key_in_a_file_goes_to_the_address_of_that_file_alone(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    user_file().write_text('api_key = "gd_user"\n')
    for own in ("http://127.0.0.1:8000", "http://localhost:9", "http://[::1]:8000"):
        assert api_key(own) == "gd_user"
    assert api_key("https://team.example") is None
    user_file().write_text('api_key = "gd_user"\nurl = "https://team.example/"\n')
    assert api_key("https://team.example:443/gd") == "gd_user"
    for other in ("http://team.example", "https://team.example:8443", "https://team.example.org", "http://127.0.0.1:8000"):
        assert api_key(other) is None
    Path("gendistil.toml").write_text('url = "https://other.example"\n')  # as a folder from elsewhere may have it
    assert api_key("https://other.example") is None
    assert api_key("https://team.example") == "gd_user"
    Path("gendistil.toml").write_text('url = "https://other.example"\napi_key = "gd_project"\n')
    assert (api_key("https://other.example"), api_key("https://team.example")) == ("gd_project", "gd_user")
    monkeypatch.setenv("GENDISTIL_API_KEY", "gd_variable")
    assert api_key("https://anywhere.example") == "gd_variable"


def test_a_key_is_written_beside_what_is_there(home: Path) -> None:
    user_file().write_text('# mine\npreset = "balanced"\n  api_key="gd_old"')
    user_file().chmod(0o644)
    keep("gd_new", "http://127.0.0.1:8000")
    assert user_file().read_text() == 'api_key = "gd_new"\n# mine\npreset = "balanced"\n'
    assert user_file().stat().st_mode & 0o777 == 0o600
    keep("gd_team", "https://team.example")
    assert (api_key("https://team.example"), api_key("http://127.0.0.1:8000")) == ("gd_team", None)
    assert "gd_team" not in repr(resolve("api_key"))
    keep("gd_here", "http://127.0.0.1:8000")
    assert (api_key("https://team.example"), api_key("http://127.0.0.1:8000")) == (None, "gd_here")
    assert forget() == user_file().resolve()
    assert forget() is None
    assert "gd_" not in user_file().read_text()
    assert "# mine" in user_file().read_text()
    user_file().write_text("\"api_key\" = 'gd_quoted'\n")
    with pytest.raises(GendistilError, match="cannot be changed") as caught:
        keep("gd_new", "http://127.0.0.1:8000")
    assert "gd_" not in caught.value.detail
    assert "gd_quoted" in user_file().read_text()
    assert not [path for path in user_file().parent.iterdir() if path != user_file()]
