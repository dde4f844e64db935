"""A real API process for the client and the command line to speak to. There is no worker: jobs stay queued."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from app.config import Settings
from tests.e2e.service import ready
from tests.servers import free_port
from tests.waiting import wait_for


@contextmanager
def api_process(folder: Path, **env: str) -> Iterator[str]:
    """Yields its address. `env`: beside this process' own."""
    port = free_port()
    command = [sys.executable, "-m", "uvicorn", "app.main:app", "--host", "127.0.0.1", "--port", str(port)]
    log = folder / "api.log"
    whole = {**os.environ, **env}
    with log.open("wb") as output, subprocess.Popen(command, env=whole, cwd=folder, stdout=output, stderr=output) as process:
        try:
            url = f"http://127.0.0.1:{port}"
            wait_for(lambda: _answers(process, url, log), 180, log.read_text)
            yield url
        finally:
            process.terminate()
            process.wait(30)


@pytest.fixture
def service_url(service_env: Settings, tmp_path: Path) -> Iterator[str]:
    with api_process(tmp_path) as url:
        yield url


@pytest.fixture
def keyed_url(service_env: Settings, tmp_path: Path) -> Iterator[str]:
    """Of a service that asks for keys, and has none yet."""
    with api_process(tmp_path, GENDISTIL_KEYS="required") as url:
        yield url


def _answers(process: "subprocess.Popen[bytes]", url: str, log: Path) -> bool:
    assert process.poll() is None, log.read_text()
    return ready(url)
