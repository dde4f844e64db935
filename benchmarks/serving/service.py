"""A service to measure: a data folder with published students, and one uvicorn worker on it.

The students have the size and the graph of real ones, and random weights: how long a prediction takes does not depend on their values.
"""

import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch

from app.contracts.artefacts import ArtefactManifest, FileEntry
from app.contracts.spec import DistilSpec, StudentKind
from app.contracts.stages import Stage
from app.contracts.students import ONNX_FILE, STUDENT_MANIFEST_FILE, TOKENIZER_FILE, StudentManifest
from app.database import transaction
from app.embedded_parts import find_redis_server, prepare_folder, start_redis
from app.jobs.aliases import LATEST, Cause, set_alias
from app.migrate import upgrade
from app.ownership import current_project
from app.storage import BlobStore, file_sha256
from app.tables import Student
from workers.students.base import Student as StudentModule
from workers.students.base import parameter_count, widest
from workers.students.embedding import PlainEmbedding
from workers.students.registry import ARCHITECTURES
from workers.students.vocabulary import Vocabulary
from workers.training.precision import best_precision, export_student

ROOT = Path(__file__).parents[2]
LABELS = ["Business", "Sci/Tech", "Sports", "World"]
START_SECONDS = 60.0


@dataclass(frozen=True)
class Service:
    """A running server."""

    port: int
    pid: int

    def rss(self) -> int:
        """Bytes of memory that are its own."""
        pages = int(Path(f"/proc/{self.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")

    def cpu_seconds(self) -> float:
        """That all its threads have run."""
        tasks = Path(f"/proc/{self.pid}/task").iterdir()
        return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks) / 1e9


def student_files(folder: Path, kind: StudentKind, tokenizer: Path, seed: int = 0) -> StudentManifest:
    """Writes a student's three files."""
    folder.mkdir(parents=True)
    shutil.copy(tokenizer, folder / TOKENIZER_FILE)
    pieces = json.loads(tokenizer.read_text())["model"]["vocab"]
    torch.manual_seed(seed)
    architecture, spec = ARCHITECTURES[kind], DistilSpec()
    dimensions = widest(architecture, len(pieces), len(LABELS), spec.max_parameters, 256)
    table = torch.randn(len(pieces), dimensions + architecture.weighted)
    vocabulary = Vocabulary(list(range(len(pieces))), None, pieces["[PAD]"])
    student = StudentModule(PlainEmbedding(table), architecture.head(dimensions, len(LABELS), 0.0), vocabulary).eval()
    export_student(student, folder / ONNX_FILE, best_precision(student))
    manifest = StudentManifest(
        kind=kind,
        labels=LABELS,
        max_tokens=128,
        pad_id=pieces["[PAD]"],
        parameters=parameter_count(student),
        bytes=sum((folder / name).stat().st_size for name in (ONNX_FILE, TOKENIZER_FILE)),
        parity={},
        metrics={},
        lineage={},
    )
    (folder / STUDENT_MANIFEST_FILE).write_text(manifest.model_dump_json())
    return manifest


def artefact_key(name: str, version: int = 1) -> str:
    """In the project at hand."""
    return f"bench-{current_project()}-{name}-{version}"


def publish(data_dir: Path, files: Path, manifest: StudentManifest, name: str, version: int = 1) -> None:
    """Registers the files as a version of a name of the project at hand, and points `latest` to it."""
    key = artefact_key(name, version)
    store = BlobStore(f"file://{data_dir / 'blobs'}", data_dir / "cache")
    copied = data_dir / "copies" / key
    shutil.copytree(files, copied)
    found = {path.name: FileEntry(sha256=file_sha256(path), bytes=path.stat().st_size) for path in copied.iterdir()}
    store.publish(copied, ArtefactManifest(stage=Stage.PUBLISH, key=key, version=1, spec={}, inputs={}, files=found, seconds=0))
    with transaction() as session:
        content = manifest.model_dump(mode="json")
        session.add(Student(name=name, version=version, kind=manifest.kind, artefact_key=key, manifest=content))
        set_alias(session, name, LATEST, version, Cause.PUBLISH)


def prepare(data_dir: Path) -> None:
    """An empty database in the folder; this process writes to it from now on."""
    data_dir.mkdir(parents=True)
    os.environ.update({"GENDISTIL_DATA_DIR": str(data_dir), "DATABASE_URL": "", "STORAGE_URL": ""})
    upgrade(f"sqlite:///{data_dir.resolve() / 'gendistil.db'}")


@contextmanager
def running(data_dir: Path, **settings: str) -> Iterator[Service]:
    """Starts the server, with `GENDISTIL_` settings. Raises `RuntimeError` if it does not come up."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "uvicorn", "benchmarks.serving.application:app", "--port", str(port), "--log-level", "warning"]
    # Idle connections are to stay: the load generator opens all of its own at the start.
    command += ["--timeout-keep-alive", "3600"]
    environment = {**os.environ, **{f"GENDISTIL_{name.upper()}": value for name, value in settings.items()}}
    log = data_dir / "api.log"
    with log.open("ab") as output:
        process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=output, stderr=output)
    try:
        _await(process, port, log)
        yield Service(port, process.pid)
    finally:
        process.terminate()
        process.wait(timeout=30)


@contextmanager
def redis_running(data_dir: Path) -> Iterator[str]:
    """Starts Redis; yields its URL. Raises `EmbeddedError` if it does not come up."""
    child, url = start_redis(find_redis_server(), prepare_folder(data_dir))
    try:
        yield url
    finally:
        child.stop(5)


def _await(process: "subprocess.Popen[bytes]", port: int, log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        except OSError:
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"the server did not start:\n{log.read_text()[-2000:]}") from None
            time.sleep(0.05)
