"""The service of a data folder, run in the background: found, started and stopped."""

import fcntl
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import httpx

from gendistil.errors import GendistilError

START_SECONDS, STOP_SECONDS = 120.0, 60.0
TAIL_LINES = 20
PORT = 8000
LOCK, ANNOUNCED = "up.lock", "up.json"
"""As `app.embedded` writes them: the lock holds the pid of `gendistil up`, and a ready service says where it listens."""


@dataclass(frozen=True)
class Running:
    pid: int
    url: str


def log_of(data_dir: Path) -> Path:
    return data_dir / "logs" / "up.log"


def announced(data_dir: Path) -> Running | None:
    """The ready service of the folder, if there is one."""
    try:
        said = json.loads((data_dir / ANNOUNCED).read_text())
        found = Running(int(said["pid"]), str(said["url"]))
        os.kill(found.pid, 0)
    except (OSError, ValueError, KeyError, TypeError):  # none, half written, or of one that was killed
        return None
    return found


def holder(data_dir: Path) -> int | None:
    """The pid of the service that holds the folder, ready or not."""
    try:
        with (data_dir / LOCK).open() as file:
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return int(file.read().strip() or 0) or None
    except (OSError, ValueError):
        pass
    return None


def answers(url: str) -> bool:
    """Whether a gendistil service listens there."""
    try:
        response = httpx.get(f"{url}/healthz", timeout=5, trust_env=False)
        return bool(response.status_code == 200 and response.json() == {"status": "ok"})
    except (httpx.HTTPError, ValueError):
        return False


def start(
    data_dir: Path,
    say: Callable[[str], None],
    *,
    host: str = "127.0.0.1",
    port: int | None = None,
    keys: bool = False,
    options: Sequence[str] = (),
) -> Running:
    """Starts the folder's service, which outlives this process, and waits until it is ready; one that runs is as good.

    `port`: else 8000, or any if that is taken. `keys`: asks for API keys. The first one is said, if there was none and the settings or
    this ask for them. `options`: more of `gendistil up`. Raises `GendistilError`; what was started until then is stopped, also on a
    Ctrl-C.
    """
    if found := announced(data_dir):
        return found
    _prepare(host, data_dir, keys, say)
    log = log_of(data_dir)
    try:
        log.parent.mkdir(parents=True, exist_ok=True)
        output = log.open("ab")
    except OSError as error:
        detail = f"The data folder {data_dir} cannot be written: {error.strerror}."
        raise GendistilError(detail, remedy="Choose another: GENDISTIL_DATA_DIR, or data_dir in gendistil.toml.") from error
    say(f"Starting the service in the background: data in {data_dir}, log in {log} ...")
    place = ["--host", host, "--port", str(port or free_port(PORT)), "--data-dir", str(data_dir)]
    command = [sys.executable, "-m", "gendistil.cli", "up", *place, *(["--keys"] if keys else []), *options]
    with output:
        # A session of its own: it outlives the terminal, and a Ctrl-C there is not meant for it.
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, start_new_session=True)
    try:
        found = _await(process, data_dir, log)
    except BaseException:
        end(process)
        raise
    say(f"The service is ready at {found.url} and stays up. Stop it with: gendistil down")
    return found


def _prepare(host: str, data_dir: Path, keys: bool, say: Callable[[str], None]) -> None:
    """Here, and not in the log: a refusal, which is then told at once, and the first key, which must stand in no file."""
    from app.embedded import EmbeddedError, prepare

    try:
        for line in prepare(host, data_dir, keys=keys):
            say(line)
    except EmbeddedError as error:
        raise GendistilError(error.detail, remedy=error.remedy) from error


def _await(process: "subprocess.Popen[bytes]", data_dir: Path, log: Path) -> Running:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        if found := announced(data_dir):
            return found
        # Another command may have been first, and its service is on the way.
        if process.poll() is not None and holder(data_dir) is None and not announced(data_dir):
            raise GendistilError(f"The service did not start:\n{tail(log)}", remedy=f"See {log}, and run 'gendistil doctor'.")
        time.sleep(0.1)
    raise GendistilError(f"The service was not ready within {START_SECONDS:.0f} s:\n{tail(log)}", remedy=f"See {log}.")


def stop(data_dir: Path) -> int | None:
    """Stops the folder's service, ready or not, and waits for its end. Its pid; None if there was none. Raises `GendistilError`."""
    pid = holder(data_dir)
    if pid is None:
        return None
    try:
        os.kill(pid, signal.SIGTERM)
    except ProcessLookupError:
        return pid
    except PermissionError as error:
        raise GendistilError(f"The service (pid {pid}) is another user's.", remedy="Let that user stop it.") from error
    deadline = time.monotonic() + STOP_SECONDS
    while holder(data_dir) == pid:
        if time.monotonic() > deadline:
            raise GendistilError(f"The service (pid {pid}) did not stop within {STOP_SECONDS:.0f} s.", remedy=f"See {log_of(data_dir)}.")
        time.sleep(0.1)
    return pid


def end(process: "subprocess.Popen[bytes]") -> None:
    """Stops a service that this process started, if it still runs, and waits for its end."""
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def free_port(wanted: int = 0) -> int:
    """That one if nothing listens there, else any."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", wanted))
        except OSError:
            return free_port()
        port: int = probe.getsockname()[1]
        return port


def tail(path: Path) -> str:
    """The last lines of a log."""
    return "\n".join(path.read_text(errors="replace").splitlines()[-TAIL_LINES:]) if path.exists() else "(there is none)"
