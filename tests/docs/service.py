"""A real service for the documentation's commands: Redis, SQLite, an API and a worker as processes; only its models are tiny."""

import shutil
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from app.migrate import upgrade
from tests.docs.blocks import ROOT
from tests.e2e.service import client, follow, ok, process, ready, succeeded
from tests.servers import free_port
from tests.waiting import wait_for

EXAMPLE = {"file": "banking10.csv", "test_file": "banking10_test.csv"}


@contextmanager
def service(folder: Path, models: Path, redis_url: str, settings: Mapping[str, str] | None = None) -> Iterator[str]:
    """Runs one on the data in `folder/data`; yields its address. `settings`: beside its own."""
    url = f"http://127.0.0.1:{(port := free_port())}"
    data = folder / "data"
    data.mkdir(exist_ok=True)
    upgrade(f"sqlite:///{data / 'gendistil.db'}")
    env = {
        "DATABASE_URL": f"sqlite:///{data / 'gendistil.db'}",
        "REDIS_URL": redis_url,
        "STORAGE_URL": f"file://{data / 'blobs'}",
        "GENDISTIL_DATA_DIR": str(data),
        # Stages of seconds: what each of them would take to load torch in a process of its own is most of it.
        "GENDISTIL_WORKER__ISOLATE": "false",
        "GENDISTIL_WORKER__SWEEP_SECONDS": "1",
        "GENDISTIL_WORKER__HEARTBEAT_SECONDS": "0.2",
        "GENDISTIL_WORKER__THREADS": "1",
        # As docs/webhooks.md says of a receiver on this machine.
        "GENDISTIL_WEBHOOKS__ALLOWED_NETWORKS": '["127.0.0.0/8"]',
        "PYTHONPATH": str(ROOT),
        **(settings or {}),
    }
    api = [sys.executable, "-m", "tests.docs.tiny_api", str(port), str(models)]
    work = [sys.executable, "-m", "workers.main"]
    with process(api, folder / "api.log", env) as serving, process(work, folder / "worker.log", env):
        wait_for(lambda: ready(url) or serving.poll() is not None, 120, "ready")
        assert serving.poll() is None, (folder / "api.log").read_text()[-3000:]
        yield url


def run_example(url: str, name: str) -> None:
    """A job on the bundled example, to its end."""
    with client(url) as api:
        files = {part: (file, (ROOT / "examples" / file).read_bytes()) for part, file in EXAMPLE.items()}
        job = ok(api.post("/jobs", files=files, data={"name": name}), 202)
        follow(api, job["id"], succeeded, 400)


def copy_of(data: Path, folder: Path) -> None:
    """The data of a service that has ended, for another one."""
    shutil.copytree(data, folder / "data")


def log_tails(folder: Path) -> str:
    return "\n".join(f"--- {log.name}\n{log.read_text()[-2000:]}" for log in sorted(folder.glob("*.log")))
