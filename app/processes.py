"""Child processes of the embedded service: each in a session of its own, logging to a file, and never left behind."""

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

_PR_SET_PDEATHSIG = 1
# Loaded here, before any fork: loading a library between fork and exec may deadlock.
_LIBC = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None


def signal_on_parent_death(number: int, parent: int) -> None:
    """Asks the kernel to signal this process when the thread that started it ends; Linux only, elsewhere it does nothing.

    `parent` is the pid of the expected parent: if that is gone already, the signal is sent at once.
    """
    if _LIBC is None:
        return
    _LIBC.prctl(_PR_SET_PDEATHSIG, number, 0, 0, 0)
    if os.getppid() != parent:
        os.kill(os.getpid(), number)


def _kill_with_parent() -> Callable[[], None]:
    parent = os.getpid()
    return lambda: signal_on_parent_death(signal.SIGKILL, parent)


class Child:
    """One child process.

    It leads its own session, so a terminal's Ctrl-C reaches the parent alone, and on Linux it is killed if the parent dies.
    Start it from the main thread: the kernel takes the end of the starting thread for the parent's death.
    """

    def __init__(self, name: str, command: Sequence[str], log: Path, env: dict[str, str], stdin: bytes | None = None) -> None:
        self.name = name
        self.log = log
        with log.open("ab") as output:
            self.process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE if stdin is not None else subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=env,
                start_new_session=True,
                preexec_fn=_kill_with_parent(),
            )
        if stdin is not None and self.process.stdin is not None:
            with contextlib.suppress(BrokenPipeError):  # it died at once; whoever polls it sees that
                self.process.stdin.write(stdin)
                self.process.stdin.close()

    @property
    def pid(self) -> int:
        return self.process.pid

    def exit_code(self) -> int | None:
        """None while it runs; negative: the number of the signal that ended it."""
        return self.process.poll()

    def stop(self, grace: float) -> bool:
        """Sends SIGTERM, and SIGKILL to its whole session after `grace` seconds. False if it had to be killed."""
        in_time = True
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(grace)
            except subprocess.TimeoutExpired:
                in_time = False
        with contextlib.suppress(ProcessLookupError, PermissionError):  # nothing of the session is left
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        return in_time


def tail(path: Path, lines: int = 20) -> str:
    """The last lines of a log file; empty if there is none."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - 64_000))
            return "\n".join(file.read().decode(errors="replace").splitlines()[-lines:])
    except FileNotFoundError:
        return ""
