"""The client and the command save a student, and send it to another service."""

import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from gendistil import Client
from gendistil.errors import GendistilError
from tests.app.predictions.conftest import publish
from tests.gendistil.test_cli import gendistil

__all__ = ["publish"]


def test_a_student_is_saved_and_sent_back(service_url: str, publish: Callable[..., int], tmp_path: Path) -> None:
    publish()
    saved = gendistil("download", "triage:1", "--to", str(tmp_path), "--url", service_url)
    assert saved.returncode == 0, saved.stderr
    path = Path(saved.stdout.strip())
    assert path == tmp_path / "triage-1.zip"
    with zipfile.ZipFile(path) as archive:
        assert "predict.py" in archive.namelist()
    sent = gendistil("import", str(path), "--name", "away", "--url", service_url)
    assert (sent.returncode, sent.stdout) == (0, "away:1\n"), sent.stderr
    with Client(service_url) as client:
        assert client.predict("away", "my card").predictions == client.predict("triage", "my card").predictions
        again = client.import_student(path, promote=True)
        assert (again.name, again.version) == ("triage", 2)
        assert client.download("triage", tmp_path / "other.zip") == tmp_path / "other.zip"
        with pytest.raises(GendistilError, match="no student"):
            client.download("nobody", tmp_path)
        with pytest.raises(GendistilError, match="cannot be written"):
            client.download("triage", tmp_path / "missing" / "other.zip")
        with pytest.raises(GendistilError, match="no zip"):
            client.import_student(Path(__file__))
    assert sorted(file.name for file in tmp_path.glob("*.zip*")) == ["other.zip", "triage-1.zip"]
