"""The audit of the packages, by a package index and an advisory service that the test serves itself."""

import http.server
import importlib.util
import json
import os
import subprocess
import sys
import threading
import tomllib
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "requirements" / "audit.py"


@pytest.fixture(scope="module")
def audit() -> ModuleType:
    spec = importlib.util.spec_from_file_location("audit_script", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules["audit_script"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Advisories(http.server.BaseHTTPRequestHandler):
    """OSV's query: one advisory about setuptools, none about anything else."""

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
        found = [{"id": "GHSA-test", "aliases": ["CVE-2030-1"], "summary": "A hole.", "affected": []}]
        body = json.dumps({"vulns": found} if asked["package"]["name"] == "setuptools" else {}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *arguments: object) -> None:
        pass


@pytest.fixture
def osv() -> Iterator[str]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Advisories) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_findings_of_a_service_that_answers_are_read(audit: ModuleType, osv: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_AUDIT_OSV_URL", osv)
    found = audit.audit("osv", ROOT / "requirements" / "build.txt")
    assert found.audited == 1
    assert found.unknown == []
    ((id, aliases, package),) = found.findings
    assert {id, *aliases} == {"GHSA-test", "CVE-2030-1"}
    assert package.startswith("setuptools ")


def test_findings_fail_but_for_those_that_are_argued(audit: ModuleType) -> None:
    findings = [("GHSA-1", ["CVE-1"], "left 1.0"), ("GHSA-2", ["CVE-2"], "right 2.0")]
    assert list(audit.refused(findings, {"CVE-1": "never called", "GHSA-2": "never called"})) == []
    (line,) = audit.refused(findings, {"CVE-1": "never called"})
    assert line.startswith("right 2.0: GHSA-2, CVE-2.")
    (line,) = audit.refused([], {"CVE-1": "never called"})
    assert "CVE-1" in line


def test_packages_that_nobody_was_asked_about_are_not_taken_for_good(audit: ModuleType) -> None:
    skipped = {"name": "left", "skip_reason": "not found"}
    assert audit.read([skipped]) is None
    found = audit.read([skipped, {"name": "right", "version": "2.0", "vulns": []}])
    assert (found.audited, found.unknown) == (1, ["left"])


def test_without_a_network_it_says_so_and_fails_nothing() -> None:
    # A proxy that nothing listens at.
    environment = {**os.environ, **dict.fromkeys(("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"), "http://127.0.0.1:9")}
    run = subprocess.run([sys.executable, str(SCRIPT)], capture_output=True, text=True, env=environment, check=False)
    assert run.returncode == 0, run.stderr
    assert run.stdout.startswith("audit: SKIPPED.")
    assert run.stdout.count("\n") == 1


def test_every_argument_has_a_reason() -> None:
    accepted = tomllib.loads((ROOT / "requirements" / "accepted.toml").read_text())
    assert all(isinstance(reason, str) and len(reason) > 20 for reason in accepted.values())
