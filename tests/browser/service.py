"""The service as processes of its own, with tiny random models, for a browser to look at."""

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import httpx

from app.migrate import upgrade
from tests.e2e.service import Json, client, follow, ok, process, ready, succeeded
from tests.servers import free_port
from tests.waiting import wait_for
from tests.workers.tiny import make_rows, save_encoder, save_llama, tiny_spec


@dataclass(frozen=True)
class Service:
    """`spec`: a whole one that makes a job take seconds, on rows as `csv` has them."""

    url: str
    api: httpx.Client
    spec: dict[str, Any]
    folder: Path
    environment: dict[str, str]

    def csv(self, per_label: int = 20, seed: int = 0) -> bytes:
        lines = [f"{row.text},{row.label}" for row in make_rows(per_label, seed)]
        return "\n".join(["text,label", *lines, ""]).encode()

    def start(self, name: str, **spec: dict[str, Any]) -> Json:
        """A job on 20 rows a label; `spec`: more overrides, by part."""
        parts = {part: {**self.spec.get(part, {}), **spec.get(part, {})} for part in {*self.spec, *spec}}
        body = {"name": name, "dataset": {"rows": [asdict(row) for row in make_rows(20)]}, "spec": parts}
        return ok(self.api.post("/jobs", json=body), 202)

    def done(self, name: str, **spec: dict[str, Any]) -> Json:
        return follow(self.api, self.start(name, **spec)["id"], succeeded, 300)[-1]


@contextmanager
def api_process(folder: Path, environment: dict[str, str], port: int) -> Iterator[None]:
    command = [sys.executable, "-m", "uvicorn", "app.main:app", "--host", "127.0.0.1", "--port", str(port)]
    with process(command, folder / "api.log", environment) as running:
        wait_for(lambda: ready(f"http://127.0.0.1:{port}") or running.poll() is not None, 120, "the API")
        assert running.poll() is None, (folder / "api.log").read_text()
        yield


@contextmanager
def tiny_service(folder: Path, redis_url: str) -> Iterator[Service]:
    port = free_port()
    environment = {
        "GENDISTIL_DATA_DIR": str(folder / "data"),
        "REDIS_URL": redis_url,
        "DATABASE_URL": f"sqlite:///{folder / 'test.db'}",
        "STORAGE_URL": f"file://{folder / 'blobs'}",
        # A process of its own for each stage would spend most of the test on loading its libraries.
        "GENDISTIL_WORKER__ISOLATE": "false",
        "GENDISTIL_MODELS": '["/*"]',
    }
    upgrade(environment["DATABASE_URL"])
    spec = tiny_spec(save_encoder(folder / "encoder"), save_llama(folder / "llama"), distil={"student": "bag"})
    worker = [sys.executable, "-m", "workers.main", "--queues", "gpu,cpu"]
    with (
        api_process(folder, environment, port),
        process(worker, folder / "worker.log", environment),
        client(f"http://127.0.0.1:{port}") as api,
    ):
        yield Service(f"http://127.0.0.1:{port}", api, json.loads(spec.model_dump_json()), folder, environment)
