"""A real API process for the client and the command line to speak to. There is no worker: jobs stay queued."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.config import Settings
from tests.e2e.service import ready
from tests.servers import free_port
from tests.waiting import wait_for


@pytest.fixture
def service_url(service_env: Settings, tmp_path: Path) -> Iterator[str]:
    port = free_port()
    command = [sys.executable, "-m", "uvicorn", "app.main:app", "--host", "127.0.0.1", "--port", str(port)]
    log = tmp_path / "api.log"
    with log.open("wb") as output, subprocess.Popen(command, env=dict(os.environ), cwd=tmp_path, stdout=output, stderr=output) as process:
        try:
            url = f"http://127.0.0.1:{port}"
            wait_for(lambda: _answers(process, url, log), 180, log.read_text)
            yield url
        finally:
            process.terminate()
            process.wait(30)


def _answers(process: "subprocess.Popen[bytes]", url: str, log: Path) -> bool:
    assert process.poll() is None, log.read_text()
    return ready(url)
