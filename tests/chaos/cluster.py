"""A whole cluster of real parts that can fail: PostgreSQL, Redis, a blob store, one API and several workers."""

import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx
import psycopg
from psycopg.rows import dict_row

from tests.chaos.services import Service, Supervisor
from tests.chaos.stores import LocalStore, S3Store, Store
from tests.e2e.service import BIN, ENDED, ok, ready
from tests.servers import RedisServer, free_port, postgres_server
from tests.waiting import wait_for

Json = dict[str, Any]
LOST_AFTER_SECONDS = 3.0
SETTINGS = {
    "GENDISTIL_WORKER__HEARTBEAT_SECONDS": "0.2",
    "GENDISTIL_WORKER__LOST_AFTER_SECONDS": str(LOST_AFTER_SECONDS),
    "GENDISTIL_WORKER__SWEEP_SECONDS": "0.5",
    "GENDISTIL_WORKER__RETRY_SECONDS": "0.2",
    "GENDISTIL_WORKER__GRACE_SECONDS": "5",
    # Faults meet a stage more often than in any service; how many attempts there are is tested elsewhere.
    "GENDISTIL_WORKER__MAX_ATTEMPTS": "50",
    "GENDISTIL_WORKER__THREADS": "1",
    "GENDISTIL_GC_GRACE_SECONDS": "0",
    "GENDISTIL_MODELS": '["/*"]',
    "HF_HUB_OFFLINE": "1",
}
_ADDRESSES = {"DATABASE_URL", "REDIS_URL", "STORAGE_URL"}


@dataclass(frozen=True)
class StageRunRow:
    """A row of `stage_runs`. `pid`: of the worker that has it."""

    id: int
    job_id: str
    stage: str
    shard: int
    status: str
    attempt: int
    pid: int | None
    artefact_key: str | None
    started_at: datetime | None


@dataclass
class Cluster:
    """`data_dir`: of all processes, as on one machine. `refusals`: answers of the API that no caller should get."""

    folder: Path
    data_dir: Path
    database_url: str
    redis: RedisServer
    store: Store
    url: str
    api: Service
    workers: Sequence[Service]
    disk_full_possible: bool
    refusals: list[str] = field(default_factory=list)
    _connection: psycopg.Connection[Json] | None = None

    @property
    def services(self) -> list[Service]:
        return [self.api, *self.workers]

    def call(self, method: str, path: str, *, seconds: float = 90, **request: Any) -> httpx.Response:
        """The answer, asked again as a patient caller does: after a lost connection, and where the answer says to come again."""
        deadline = time.monotonic() + seconds
        while True:
            with suppress(httpx.TransportError), httpx.Client(base_url=self.url, timeout=30, trust_env=False) as client:
                answer = client.request(method, path, **request)
                if (answer.status_code < 500 and "Retry-After" not in answer.headers) or answer.status_code < 400:
                    return answer
                if answer.status_code == 500:
                    self.refusals.append(f"{method} {path}: {answer.text}")
            assert time.monotonic() < deadline, f"{method} {path} was not answered within {seconds} s"
            time.sleep(0.2)

    def rows(self, query: str, *values: Any) -> list[Json]:
        """From the database itself; waits while that is away."""
        deadline = time.monotonic() + 60
        while True:
            try:
                if self._connection is None or self._connection.closed:
                    self._connection = psycopg.connect(self.database_url, autocommit=True, row_factory=dict_row)
                return self._connection.execute(query.encode(), values).fetchall()
            except psycopg.OperationalError:
                if self._connection is not None:
                    self._connection.close()
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.1)

    def stage_runs(self, *statuses: str) -> list[StageRunRow]:
        """In the order of their ids; of all statuses if none is given."""
        columns = "id, job_id, stage, shard, status, attempt, worker, artefact_key, started_at"
        where, values = ("WHERE status = ANY(%s)", [list(statuses)]) if statuses else ("", [])
        found = []
        for row in self.rows(f"SELECT {columns} FROM stage_runs {where} ORDER BY id", *values):
            worker = row.pop("worker")
            found.append(StageRunRow(**row, pid=int(worker.rpartition(":")[2]) if worker else None))
        return found

    def worker_of(self, run: StageRunRow) -> Service | None:
        """None if that process has ended."""
        return next((worker for worker in self.workers if run.pid is not None and worker.pid == run.pid), None)

    def follow(self, job_id: str, until: Callable[[Json], bool], seconds: float = 300, every: float = 0.2) -> Json:
        """The first state of the job that satisfies `until`. Fails if the job ends otherwise, or it takes longer."""

        def arrived() -> Json | None:
            job = ok(self.call("GET", f"/jobs/{job_id}"))
            assert until(job) or job["status"] not in ENDED, job
            return job if until(job) else None

        found: Json = wait_for(arrived, seconds, f"job {job_id}", every)
        return found

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()


@contextmanager
def cluster(
    folder: Path, workers: int = 2, *, s3: bool = False, disk_bytes: int | None = None, settings: Mapping[str, str] | None = None
) -> Iterator[Cluster]:
    """Runs the whole service in `folder`, ready to take jobs; what ends is started again.

    `disk_bytes`: the data folder lies on a disk of its own that small, where the system lets this process mount one.
    """
    with ExitStack() as stack:
        data_dir = folder / "data"
        data_dir.mkdir()
        small = bool(disk_bytes) and stack.enter_context(small_disk(data_dir, disk_bytes or 0))
        redis = RedisServer(folder)
        stack.callback(redis.stop)
        redis.start()
        postgres_url = stack.enter_context(postgres_server())
        store: Store = stack.enter_context(S3Store.running() if s3 else LocalStore.made(data_dir))
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("GENDISTIL_") and name not in _ADDRESSES}
        addresses = {"DATABASE_URL": postgres_url, "REDIS_URL": redis.url, "GENDISTIL_DATA_DIR": str(data_dir), **store.env}
        env = {**inherited, **SETTINGS, **addresses, "OMP_NUM_THREADS": "1", **(settings or {})}
        subprocess.run([str(BIN / "python"), "-m", "app.migrate"], cwd=folder, env=env, check=True)
        port = free_port()
        serve = [str(BIN / "uvicorn"), "app.main:app", "--host", "127.0.0.1", "--port", str(port)]
        work = [str(BIN / "python"), "-m", "workers.main"]
        api = Service("api", serve, folder, env)
        found = Cluster(
            folder=folder,
            data_dir=data_dir,
            database_url=postgres_url,
            redis=redis,
            store=store,
            url=f"http://127.0.0.1:{port}",
            api=api,
            workers=[Service(f"worker{number}", work, folder, env) for number in range(1, workers + 1)],
            disk_full_possible=small,
        )
        stack.callback(found.close)
        for service in found.services:
            stack.callback(service.stop)
            service.start()
        stack.enter_context(Supervisor(found.services))
        wait_for(lambda: ready(found.url), 120, "ready")
        yield found


@contextmanager
def small_disk(folder: Path, size: int) -> Iterator[bool]:
    """Mounts a disk in memory of `size` bytes at the folder; False where that is not allowed, and the folder is an ordinary one."""
    mount = shutil.which("mount")
    if os.geteuid() != 0 or mount is None:
        yield False
        return
    done = subprocess.run([mount, "-t", "tmpfs", "-o", f"size={size}", "gendistil-chaos", str(folder)], capture_output=True)
    try:
        yield done.returncode == 0
    finally:
        if done.returncode == 0:
            subprocess.run(["umount", "--lazy", str(folder)], check=True)
