"""Processes that are killed and come back, as a service manager brings them back."""

import os
import signal
import subprocess
import threading
import time
from collections.abc import Sequence
from pathlib import Path

import psutil


class Service:
    """One process under supervision, in a session of its own; its descendants are known by that session even when it is gone."""

    def __init__(self, name: str, command: Sequence[str], folder: Path, env: dict[str, str]) -> None:
        self.name, self.log = name, folder / f"{name}.log"
        self.sessions: set[int] = set()
        self.crashes: list[str] = []
        """Ends that nobody asked for."""
        self._command, self._folder, self._env = list(command), folder, env
        self._process: subprocess.Popen[bytes] | None = None
        self._asked = True

    @property
    def pid(self) -> int | None:
        """None while it does not run."""
        return self._process.pid if self._process is not None and self._process.poll() is None else None

    def start(self) -> None:
        with self.log.open("ab") as output:
            self._process = subprocess.Popen(
                self._command, stdout=output, stderr=subprocess.STDOUT, cwd=self._folder, env=self._env, start_new_session=True
            )
        self.sessions.add(self._process.pid)
        self._asked = False

    def signal(self, number: signal.Signals) -> None:
        if self._process is not None and self._process.poll() is None:
            self._asked = True
            self._process.send_signal(number)

    def has_ended(self) -> bool:
        if self._process is None or self._process.poll() is None:
            return False
        if not self._asked:
            self.crashes.append(f"{self.name} ended by itself, with {self._process.returncode}")
            self._asked = True
        return True

    def stop(self, seconds: float = 60) -> None:
        self.signal(signal.SIGTERM)
        if self._process is not None:
            try:
                self._process.wait(seconds)
            except subprocess.TimeoutExpired:
                self.crashes.append(f"{self.name} did not end within {seconds} s of SIGTERM")
                self._process.kill()
                self._process.wait()

    def stage_processes(self) -> list[psutil.Process]:
        """What its stages run in, of this and earlier lives: descendants other than helpers that it starts itself."""
        current = self.pid
        return [process for process in in_sessions(self.sessions) if process.pid != current and _parent(process) not in {current, None}]


class Supervisor:
    """Starts services again a moment after they ended, until it is left."""

    def __init__(self, services: Sequence[Service]) -> None:
        self._services = services
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="supervisor", daemon=True)

    def __enter__(self) -> "Supervisor":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._ended.wait(0.2):
            for service in self._services:
                if service.has_ended() and not self._ended.is_set():
                    service.start()


def in_sessions(sessions: set[int]) -> list[psutil.Process]:
    """Processes that live, or are stopped, in one of the sessions."""
    found = []
    for process in psutil.process_iter():
        try:
            if os.getsid(process.pid) in sessions and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except (ProcessLookupError, psutil.NoSuchProcess):
            continue
    return found


def wait_until_gone(sessions: set[int], seconds: float) -> list[psutil.Process]:
    """What of the sessions is left then."""
    deadline = time.monotonic() + seconds
    while (left := in_sessions(sessions)) and time.monotonic() < deadline:
        time.sleep(0.2)
    return left


def _parent(process: psutil.Process) -> int | None:
    try:
        return process.ppid()
    except psutil.NoSuchProcess:
        return None
