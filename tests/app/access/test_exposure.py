"""Without keys, the service is for its own machine."""

import os
import socket
import subprocess
import sys

import pytest
from starlette.testclient import TestClient

from app.access.exposure import bound_host, is_loopback
from app.config import Settings
from app.main import create_app
from tests.app.calls import refused
from tests.conftest import clear_caches


@pytest.mark.parametrize(
    ("arguments", "environment", "host"),
    [
        (["/venv/bin/uvicorn", "app.main:app"], {}, "127.0.0.1"),
        (["/venv/bin/uvicorn", "app.main:app", "--host", "0.0.0.0"], {}, "0.0.0.0"),
        (["/lib/uvicorn/__main__.py", "app.main:app", "--host=::"], {}, "::"),
        (["uvicorn", "app.main:app"], {"UVICORN_HOST": "10.0.0.1"}, "10.0.0.1"),
        (["uvicorn", "app.main:app", "--uds", "/run/api.sock"], {}, None),
        (["pytest"], {}, None),
        ([], {}, None),
    ],
)
def test_where_uvicorn_was_told_to_listen(arguments: list[str], environment: dict[str, str], host: str | None) -> None:
    assert bound_host(arguments, environment) == host


@pytest.mark.parametrize(
    ("host", "loopback"),
    [
        ("127.0.0.1", True),
        ("127.9.9.9", True),
        ("::1", True),
        ("localhost", True),
        ("0.0.0.0", False),
        ("::", False),
        ("10.0.0.1", False),
        ("example.com", False),
        ("", False),
    ],
)
def test_what_is_the_machine_itself(host: str, loopback: bool) -> None:
    assert is_loopback(host) == loopback


def test_it_does_not_start_on_a_public_address_without_keys(service_env: Settings) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "uvicorn", "app.main:app", "--host", "0.0.0.0", "--port", str(port)]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60, env=dict(os.environ), check=False)
    assert ended.returncode != 0
    assert "does not listen on '0.0.0.0' without API keys" in ended.stderr
    assert "GENDISTIL_KEYS=required" in ended.stderr


def test_whatever_server_it_runs_in_a_public_address_answers_nothing(service_env: Settings, clean_settings: pytest.MonkeyPatch) -> None:
    app = create_app()
    refused(TestClient(app, base_url="http://10.1.2.3").get("/jobs"), 403, "keys-required")
    with TestClient(app, base_url="http://127.0.0.1") as client:
        assert client.get("/jobs").status_code == 200
        for host in ("evil.example", "evil.example:8000", "10.1.2.3", "127.0.0.1.evil.example", "[::2]"):
            refused(client.get("/jobs", headers={"Host": host}), 403, "keys-required")
        for host in ("localhost:8000", "127.0.0.1", "[::1]:8000", "app.localhost", "api"):
            assert client.get("/jobs", headers={"Host": host}).status_code == 200
        for headers in ({"Origin": "https://evil.example"}, {"Origin": "null"}, {"Sec-Fetch-Site": "cross-site"}):
            refused(client.post("/maintenance/gc", headers=headers), 403, "keys-required")
        for headers in ({}, {"Origin": "http://127.0.0.1"}, {"Sec-Fetch-Site": "same-origin"}):
            assert client.post("/maintenance/gc", headers=headers).status_code == 200
    clean_settings.setenv("GENDISTIL_KEYS", "off")
    clear_caches()
    with TestClient(create_app(), base_url="http://10.1.2.3") as client:
        assert client.get("/jobs").status_code == 200
