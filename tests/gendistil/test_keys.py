"""API keys by the command line and the clients, against a service that asks for them."""

import asyncio
import json
import re
import subprocess
import sys
import threading
import traceback
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from gendistil import AsyncClient, Client, Conflict, Forbidden, GendistilError, Unauthenticated
from tests.app.predictions.conftest import Publish
from tests.app.predictions.conftest import publish as publish  # the fixture
from tests.gendistil.test_cli import gendistil

KEY = re.compile(r"gd_[0-9a-f]{12}_[\w-]{43}")
MADE_UP = "gd_0123456789ab_" + "s" * 43


def first_key(scope: str = "admin") -> str:
    """Made where the database is, without any other."""
    command = [sys.executable, "-m", "app.access", "create", "--name", "ops", "--scope", scope]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout.strip()


@pytest.fixture
def admin(keyed_url: str) -> str:
    return first_key()


def shown(*arguments: str, key: str) -> Any:
    done = gendistil(*arguments, "--json", GENDISTIL_API_KEY=key)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_a_first_key_makes_a_narrow_one_which_is_refused_and_revoked(
    keyed_url: str, admin: str, publish: Publish, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GENDISTIL_URL", keyed_url)
    publish()
    nobody = gendistil("jobs")
    assert (nobody.returncode, nobody.stdout) == (1, "")
    assert "This needs an API key." in nobody.stderr
    assert "'gendistil login'" in nobody.stderr
    assert "GENDISTIL_API_KEY" in nobody.stderr

    made = gendistil("keys", "create", "dashboard", "--scope", "read", "--days", "7", "--texts-per-second", "50", GENDISTIL_API_KEY=admin)
    assert made.returncode == 0, made.stderr
    narrow = made.stdout.strip()
    assert KEY.fullmatch(narrow)
    assert narrow not in made.stderr
    assert shown("students", key=narrow)[0]["name"] == "triage"
    for arguments, scope in ((("predict", "triage", "a text"), "predict"), (("keys", "list"), "admin"), (("audit",), "admin")):
        refused = gendistil(*arguments, GENDISTIL_API_KEY=narrow)
        assert (refused.returncode, refused.stdout) == (1, "")
        assert f"'dashboard' lacks the scope `{scope}`" in refused.stderr
    assert shown("predict", "triage", "a text", key=admin)["student"] == "triage"

    listed = shown("keys", "list", key=admin)
    kept = [(key["name"], key["scopes"], key["texts_per_second"]) for key in listed]
    assert kept == [("dashboard", ["read"], 50.0), ("ops", ["admin"], None)]
    assert all("key" not in key for key in listed)
    ends = datetime.fromisoformat(listed[0]["expires_at"]) - datetime.now(UTC)
    assert timedelta(days=6, hours=23) < ends < timedelta(days=7)
    own = gendistil("keys", "revoke", listed[1]["id"], GENDISTIL_API_KEY=admin)
    assert own.returncode == 1
    assert "cannot revoke itself" in own.stderr
    assert shown("keys", "revoke", listed[0]["id"], key=admin)["revoked_at"]
    late = gendistil("jobs", GENDISTIL_API_KEY=narrow)
    assert late.returncode == 1
    assert "was revoked" in late.stderr
    assert narrow not in late.stderr

    table = gendistil("keys", "list", GENDISTIL_API_KEY=admin).stdout
    assert re.search(r"dashboard .*revoked", table)
    assert admin not in table
    log = shown("audit", key=admin)
    assert [(entry["actor"], entry["action"], entry["subject"]) for entry in log] == [
        ("ops", "key.revoked", listed[0]["id"]),
        ("ops", "key.created", listed[0]["id"]),
        ("command line", "key.created", listed[1]["id"]),
    ]
    assert shown("audit", "--subject", listed[1]["id"], "--since", "1h", key=admin) == log[2:]
    assert shown("audit", "--since", "2100-01-01", key=admin) == []
    assert "key.revoked" in gendistil("audit", "--limit", "1", GENDISTIL_API_KEY=admin).stdout


def test_login_keeps_a_key_and_logout_forgets_it(keyed_url: str, admin: str, tmp_path: Path) -> None:
    env = {"XDG_CONFIG_HOME": str(tmp_path / "config"), "GENDISTIL_URL": keyed_url}
    file = tmp_path / "config" / "gendistil" / "config.toml"
    wrong = gendistil("login", stdin="gd_000000000000_wrong\n", **env)
    assert wrong.returncode == 1
    assert "not known" in wrong.stderr
    assert not file.exists()
    assert "No key was given" in gendistil("login", **env).stderr
    done = gendistil("login", stdin=f"{admin}\n", **env)
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
    assert admin not in done.stderr
    assert file.stat().st_mode & 0o777 == 0o600
    assert gendistil("jobs", **env).returncode == 0
    held = json.loads(gendistil("config", "--json", **env).stdout)["settings"]["api_key"]
    assert held == {"value": "(set)", "source": str(file)}
    shadowed = gendistil("login", stdin=f"{admin}\n", GENDISTIL_API_KEY="gd_another", **env)
    assert "GENDISTIL_API_KEY goes before it" in shadowed.stderr
    assert "is no longer in" in gendistil("logout", **env).stderr
    assert admin not in file.read_text()
    assert gendistil("jobs", **env).returncode == 1
    assert "There is no key in" in gendistil("logout", **env).stderr


def test_a_service_without_keys_needs_no_login(service_url: str, tmp_path: Path) -> None:
    done = gendistil("login", XDG_CONFIG_HOME=str(tmp_path / "config"), GENDISTIL_URL=service_url)
    assert done.returncode == 0
    assert "asks for no key" in done.stderr
    assert not (tmp_path / "config").exists()


def test_both_clients_make_list_and_revoke_keys(keyed_url: str, admin: str) -> None:
    with Client(keyed_url, api_key=admin) as client:
        made = client.keys.create("bot", ["predict"], expires_at=datetime(2100, 1, 1, tzinfo=UTC))
        assert KEY.fullmatch(made.key)
        assert made.key not in repr(made)
        assert made.expires_at == datetime(2100, 1, 1, tzinfo=UTC)
        assert [key.name for key in client.keys.list()] == ["bot", "ops"]
        with pytest.raises(Conflict, match="revoke itself"):
            client.keys.revoke(client.keys.list()[1].id)
        assert [entry.action for entry in client.audit(1, subject=made.id)] == ["key.created"]
        with Client(keyed_url, api_key=made.key) as bot, pytest.raises(Forbidden, match="lacks the scope `read`") as narrow:
            bot.jobs()
        assert narrow.value.type == "urn:gendistil:scope-missing"
        assert client.keys.revoke(made.id).revoked_at is not None

    async def ask() -> list[str]:
        async with AsyncClient(keyed_url, api_key=admin) as client:
            return [key.name for key in await client.keys.list(limit=1)]

    assert asyncio.run(ask()) == ["bot"]
    with Client(keyed_url, api_key="") as nobody, pytest.raises(Unauthenticated) as unknown:
        nobody.jobs()
    assert (unknown.value.status, unknown.value.type) == (401, "urn:gendistil:unauthenticated")


def test_a_key_is_in_no_text_of_a_client() -> None:
    with Client("http://127.0.0.1:9", api_key=MADE_UP) as client:
        assert MADE_UP not in repr(client) + repr(vars(client)) + repr(client._http.headers)
        with pytest.raises(GendistilError) as away:
            client.jobs()
    assert MADE_UP not in str(away.value)
    for wrong in (f"{MADE_UP}\n", f"{MADE_UP} ", f"{MADE_UP}é", f"{MADE_UP}\x00"):
        with pytest.raises(GendistilError, match="has characters") as caught:
            Client(api_key=wrong)
        assert MADE_UP not in "".join(traceback.format_exception(caught.value))


def test_a_redirect_gets_no_key() -> None:
    seen: list[tuple[str, str | None]] = []

    class Redirecting(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            seen.append((self.headers["Host"], self.headers["Authorization"]))
            self.send_response(307)
            self.send_header("Location", f"http://localhost:{self.server.server_port}{self.path}")
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Redirecting) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        place = f"127.0.0.1:{server.server_port}"
        with Client(f"http://{place}", api_key=MADE_UP) as client, pytest.raises(GendistilError, match="no JSON"):
            client.jobs()
        server.shutdown()
    assert seen == [(place, f"Bearer {MADE_UP}")]


@pytest.mark.parametrize("since", ["yesterday", "7", "7w", "2026-13-01"])
def test_a_time_that_is_none_is_told(since: str) -> None:
    refused = gendistil("audit", "--since", since)
    assert refused.returncode == 2
    assert "write 2026-01-31, 2026-01-31T12:00" in refused.stderr


def test_a_scope_that_there_is_not_is_told() -> None:
    refused = gendistil("keys", "create", "bot", "--scope", "all")
    assert refused.returncode == 2
    assert "admin" in refused.stderr
