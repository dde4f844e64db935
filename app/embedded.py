"""`gendistil up`: redis-server, migrations, workers and the API on one machine, started and stopped together."""

import fcntl
import json
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType

import httpx

from app.embedded_keys import Mode, check_address, first_key, shown
from app.embedded_parts import (
    EmbeddedError,
    check_packages,
    check_port,
    child_environment,
    find_redis_server,
    prepare_folder,
    start_api,
    start_file_worker,
    start_redis,
    start_teacher,
    start_worker,
    upgrade_database,
)
from app.processes import Child, signal_on_parent_death, tail

__all__ = ["EmbeddedError", "prepare", "run"]

READY_SECONDS = 90.0
API_GRACE, HELPER_GRACE, WORKER_GRACE, REDIS_GRACE = 10.0, 5.0, 20.0, 5.0
MAX_WORKER_RESTARTS = 5
"""In a row: a worker that ran for `STEADY_SECONDS` starts the count anew."""
STEADY_SECONDS = 60.0
ANNOUNCED = "up.json"
"""In the data folder, while the service is ready: where it listens, for the command line."""
HELPER_RESTART_SECONDS = 10.0
"""As often as need be: without teachers students abstain, without the file worker files wait, and all else goes on."""

Say = Callable[[str], None]


class _Stopped(Exception):
    """A signal came while the service was starting."""


def run(
    host: str = "127.0.0.1",
    port: int = 8000,
    data_dir: Path = Path(".gendistil"),
    *,
    teachers: Sequence[str] = (),
    keys: bool = False,
    say: Say = lambda line: print(line, flush=True),
    parent: int | None = None,
) -> None:
    """Runs the service until SIGINT or SIGTERM, then stops the API, the workers and Redis, in this order. Call it from the main thread.

    `teachers`: students whose teachers shall answer where they abstain, in one more process. `keys`: asks for API keys, and makes and
    prints the first one.
    `DATABASE_URL` and `STORAGE_URL` are used if they are set; Redis is always its own. `parent`: the pid of the process that
    started this one, with which the service shall end too (Linux). Raises `EmbeddedError` if something is missing or taken, if the
    API or Redis dies, or if the worker cannot be kept up.
    """
    if parent is not None:
        signal_on_parent_death(signal.SIGTERM, parent)
    mode = check_address(host, data_dir, required=keys)
    check_packages()
    redis_server = find_redis_server()
    data_dir = prepare_folder(data_dir)
    with _lock(data_dir), _signals() as stop:
        check_port(host, port)
        service = _Service(host, port, data_dir, stop, _forgiving(say), mode, teachers)
        try:
            if mode == "required" and (key := first_key(data_dir)):
                say("\n".join(shown(key)))
            service.start(redis_server)
            service.watch()
        except _Stopped:
            pass
        finally:
            service.stop()
    _forgiving(say)("Stopped.")


def prepare(host: str, data_dir: Path, *, keys: bool) -> list[str]:
    """What `run` begins with, for a caller that starts it with its output in a file, where a key must not stand.

    Returns lines to show, with the first key if it made one. Raises `EmbeddedError` as `run` does.
    """
    mode = check_address(host, data_dir, required=keys)
    key = first_key(prepare_folder(data_dir)) if mode == "required" else None
    return shown(key) if key else []


def _forgiving(say: Say) -> Say:
    """A terminal that has gone away must not keep the children from being stopped."""

    def forgiving(line: str) -> None:
        with suppress(OSError):
            say(line)

    return forgiving


@contextmanager
def _lock(data_dir: Path) -> Iterator[None]:
    """One service a data folder. The kernel frees the lock when the process ends, however it ends."""
    path = data_dir / "up.lock"
    with path.open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            raise EmbeddedError(
                f"{data_dir} is already in use by another gendistil service (pid {file.read().strip() or 'unknown'}).",
                "Use that one, stop it with 'gendistil down', or give this one a folder of its own with --data-dir.",
            ) from None
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield


@contextmanager
def _signals() -> Iterator[threading.Event]:
    stop = threading.Event()

    def handle(_number: int, _frame: FrameType | None) -> None:
        stop.set()

    numbers = [signal.SIGINT, signal.SIGTERM]
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # nohup's wish is respected
        numbers.append(signal.SIGHUP)
    before = {number: signal.signal(number, handle) for number in numbers}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@dataclass
class _Service:
    """The children, and what keeps them up."""

    host: str
    port: int
    data_dir: Path
    stopped: threading.Event
    say: Say
    keys: Mode
    teachers: Sequence[str] = ()
    redis: Child | None = None
    worker: Child | None = None
    api: Child | None = None
    env: dict[str, str] = field(default_factory=dict)
    worker_started: float = 0.0
    worker_due: float = 0.0
    worker_restarts: int = 0
    helpers: dict[str, Child] = field(default_factory=dict)
    helpers_due: dict[str, float] = field(default_factory=dict)

    @property
    def logs(self) -> Path:
        return self.data_dir / "logs"

    @property
    def url(self) -> str:
        host = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}.get(self.host, self.host)
        return f"http://[{host}]:{self.port}" if ":" in host else f"http://{host}:{self.port}"

    def start(self, redis_server: Path) -> None:
        began = time.monotonic()
        self.say(f"Data folder  {self.data_dir}")
        self.redis, redis_url = start_redis(redis_server, self.data_dir)
        self.say(f"Redis        started      (log: {self.redis.log})")
        self.env = child_environment(self.data_dir, redis_url, self.keys)
        self._check_stop()
        upgrade_database(self.data_dir)
        self.say("Database     up to date")
        self._check_stop()
        self._start_worker()
        self.api = start_api(self.host, self.port, self.logs, self.env)
        self.say(f"API          starting     (log: {self.api.log})")
        self._await_ready()
        (self.data_dir / ANNOUNCED).write_text(json.dumps({"pid": os.getpid(), "url": self.url}))
        self.say(f"Ready in {time.monotonic() - began:.1f} s at {self.url} (docs: {self.url}/docs). Stop with Ctrl-C.")

    def _check_stop(self) -> None:
        if self.stopped.is_set():
            raise _Stopped

    def _start_worker(self) -> None:
        self.worker = start_worker(self.logs, self.env)
        self.worker_started = time.monotonic()
        self.say(f"Worker       started      (log: {self.worker.log})")

    def _await_ready(self) -> None:
        deadline = time.monotonic() + READY_SECONDS
        answer = "no answer"
        while True:
            self._check_stop()
            self._check_children()
            try:
                response = httpx.get(f"{self.url}/readyz", timeout=5, trust_env=False)
                if response.status_code == 200:
                    return
                answer = f"{response.status_code} {response.text[:500]}"
            except httpx.TransportError:
                pass
            if time.monotonic() > deadline:
                log = self.logs / "api.log"
                raise EmbeddedError(f"The API was not ready within {READY_SECONDS:.0f} s: {answer}", f"See {log}.", tail(log))
            self.stopped.wait(0.2)

    def watch(self) -> None:
        """Returns when a signal asks for the end. Raises `EmbeddedError` if a child cannot be kept up."""
        while not self.stopped.wait(0.5):
            self._check_children()

    def _check_children(self) -> None:
        for child in (self.redis, self.api):
            if child and (code := child.exit_code()) is not None:
                raise EmbeddedError(
                    f"{child.name} ended unexpectedly ({_describe(code)}).",
                    f"Jobs and students are safe in {self.data_dir}: mend what the log says and run 'gendistil up' again. Log: {child.log}",
                    tail(child.log),
                )
        if self.worker and (code := self.worker.exit_code()) is not None:
            self._plan_restart(self.worker, code)
        elif self.worker is None and time.monotonic() >= self.worker_due:
            self._start_worker()
        # A file need not wait for the training that the worker is at.
        self._keep_up("File worker", lambda: start_file_worker(self.logs, self.env))
        if self.teachers:
            self._keep_up("Teacher", lambda: start_teacher(self.teachers, self.logs, self.env))

    def _keep_up(self, name: str, start: Callable[[], Child]) -> None:
        child = self.helpers.get(name)
        if child and (code := child.exit_code()) is not None:
            self.say(f"{name:12} ended unexpectedly ({_describe(code)}); starting it again (log: {child.log})")
            child.stop(0)
            del self.helpers[name]
            self.helpers_due[name] = time.monotonic() + HELPER_RESTART_SECONDS
        elif child is None and time.monotonic() >= self.helpers_due.get(name, 0.0):
            self.helpers[name] = child = start()
            self.say(f"{name:12} started      (log: {child.log})")

    def _plan_restart(self, dead: Child, code: int) -> None:
        if time.monotonic() - self.worker_started > STEADY_SECONDS:
            self.worker_restarts = 0
        if self.worker_restarts >= MAX_WORKER_RESTARTS:
            raise EmbeddedError(
                f"The worker ended {MAX_WORKER_RESTARTS + 1} times in a row ({_describe(code)}).",
                f"Mend what the log says and run 'gendistil up' again. Log: {dead.log}",
                tail(dead.log),
            )
        delay = 2.0**self.worker_restarts
        self.worker_restarts += 1
        self.say(f"Worker       ended unexpectedly ({_describe(code)}); starting it again in {delay:.0f} s (log: {dead.log})")
        dead.stop(0)  # whatever it left in its session
        self.worker = None
        self.worker_due = time.monotonic() + delay

    def stop(self) -> None:
        (self.data_dir / ANNOUNCED).unlink(missing_ok=True)
        helpers = [(child, HELPER_GRACE) for child in self.helpers.values()]
        for child, grace in ((self.api, API_GRACE), *helpers, (self.worker, WORKER_GRACE), (self.redis, REDIS_GRACE)):
            if child is None:
                continue
            if child.exit_code() is None:
                self.say(f"Stopping {child.name} ...")
            if not child.stop(grace):
                self.say(f"{child.name} did not stop within {grace:.0f} s and was killed")


def _describe(code: int) -> str:
    if code >= 0:
        return f"exit code {code}"
    name = signal.Signals(-code).name
    return f"{name}, perhaps out of memory" if name == "SIGKILL" else name
