"""`gendistil doctor`, with and without a service, on machines that lack something."""

import json
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from app.config import Settings
from tests.gendistil.test_cli import gendistil
from tests.gendistil.test_keys import first_key
from tests.servers import free_port

pytestmark = pytest.mark.usefixtures("clean_settings")


def findings(cwd: Path, *options: str, code: int = 0, **env: str) -> dict[str, dict[str, Any]]:
    result = gendistil("doctor", "--json", *options, cwd=cwd, **env)
    assert result.returncode == code, result.stdout + result.stderr
    return {finding["name"]: finding for finding in json.loads(result.stdout)}


def test_an_empty_folder_is_fit(tmp_path: Path) -> None:
    found = findings(tmp_path, "--data-dir", "data")
    assert {name for name, finding in found.items() if finding["status"] == "fail"} == set()
    assert list(found)[:2] == ["python", "packages"]
    assert {"redis", "database", "storage", "keys", "room", "memory", "cpu", "gpu", "service"} < set(found)
    assert all(finding["remedy"] for finding in found.values() if finding["status"] != "ok")
    assert "gendistil up makes" in found["database"]["detail"]
    assert not (tmp_path / "data").exists()  # it only looks


def test_what_runs_is_seen(service_url: str, service_env: Settings, tmp_path: Path) -> None:
    found = findings(tmp_path, "--url", service_url)
    assert found["service"] == {"name": "service", "status": "ok", "detail": f"ready at {service_url}", "remedy": None}
    assert found["key"]["detail"] == f"{service_url} asks for none"
    assert found["redis"]["detail"].startswith("answers at 127.0.0.1:")
    assert "up to date" in found["database"]["detail"]


def test_what_is_amiss_is_told_with_what_to_do(tmp_path: Path) -> None:
    nowhere = f"127.0.0.1:{free_port()}"
    env = {"REDIS_URL": f"redis://:secret@{nowhere}/0", "DATABASE_URL": f"postgresql://me:secret@{nowhere}/none"}
    (tmp_path / "file").touch()
    found = findings(tmp_path, "--url", f"http://{nowhere}", code=1, STORAGE_URL=f"file://{tmp_path}/file/blobs", **env)
    assert {name for name, finding in found.items() if finding["status"] == "fail"} == {"redis", "database", "storage", "service"}
    assert "secret" not in json.dumps(found)
    shown = gendistil("doctor", "--url", f"http://{nowhere}", cwd=tmp_path, **env)
    assert shown.returncode == 1
    assert "fail  redis: the Redis of REDIS_URL does not answer" in shown.stdout
    wrong = findings(tmp_path, code=1, GENDISTIL_LIMITS__MAX_ROWS="many")
    assert "limits.max_rows" in wrong["settings"]["detail"]


@pytest.mark.parametrize(("revision", "status", "expected"), [("0001", "warn", "at migration 0001"), ("9999", "fail", "newer gendistil")])
def test_a_database_of_another_version_is_told(tmp_path: Path, revision: str, status: str, expected: str) -> None:
    with sqlite3.connect(tmp_path / "gendistil.db") as connection:
        connection.execute("CREATE TABLE alembic_version (version_num VARCHAR(32))")
        connection.execute("INSERT INTO alembic_version VALUES (?)", (revision,))
    connection.close()
    found = findings(tmp_path, "--data-dir", str(tmp_path), code=int(status == "fail"))
    assert found["database"]["status"] == status
    assert expected in found["database"]["detail"]


def test_whether_keys_are_asked_for_and_which_are_good_is_told(keyed_url: str, tmp_path: Path) -> None:
    on = {"GENDISTIL_KEYS": "required"}
    none = findings(tmp_path, "--url", keyed_url, **on)
    assert (none["keys"]["status"], none["key"]["status"]) == ("warn", "warn")
    assert "python -m app.access create" in none["keys"]["remedy"]
    assert "gendistil login" in none["key"]["remedy"]
    narrow, admin = first_key("predict"), first_key("admin")
    for key in (narrow, admin):
        good = findings(tmp_path, "--url", keyed_url, **on, GENDISTIL_API_KEY=key)
        assert good["keys"] == {"name": "keys", "status": "ok", "detail": "required; 1 with the scope operator or admin", "remedy": None}
        assert good["key"]["detail"] == f"{keyed_url} takes that of GENDISTIL_API_KEY"
        assert key not in json.dumps(good)
    wrong = findings(tmp_path, "--url", keyed_url, code=1, GENDISTIL_API_KEY="gd_wrong")
    assert (wrong["service"]["status"], wrong["key"]["status"]) == ("ok", "fail")
    assert "off by the settings" in wrong["keys"]["detail"]
    assert findings(tmp_path, GENDISTIL_KEYS="off")["keys"]["status"] == "warn"
    assert "no key yet" in findings(tmp_path, "--data-dir", "empty", **on)["keys"]["detail"]
