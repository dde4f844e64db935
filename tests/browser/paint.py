"""`python -m tests.browser.paint`: how soon each page paints, on a service with 1,000 jobs and a job with 50,000 generated texts.

One job is run on tiny random models and copied; its texts are replaced by made-up ones. Each page is opened several times in a headless
chromium that has cached nothing, and the medians of what the browser measured are printed, with the load of the machine.
"""

import argparse
import json
import os
import random
import statistics
import tempfile
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

from playwright.sync_api import Browser
from sqlalchemy import create_engine, func, insert, select, update

from app.contracts.artefacts import ArtefactManifest, FileEntry
from app.contracts.stages import Stage
from app.contracts.texts import SYNTHETIC_FILE
from app.storage import BlobStore, file_sha256
from app.tables import Job, StageRun, Student
from tests.browser.chromium import CHROMIUM, NO_CHROMIUM, headless_chromium
from tests.browser.service import Service, tiny_service
from tests.servers import redis_server
from tests.workers.tiny import FILLER, LABELS, SIGNAL

JOBS, TEXTS = 1000, 50_000
ENDS = ("succeeded", "succeeded", "failed", "cancelled")
MEASURE = """() => {
  const [load] = performance.getEntriesByType("navigation");
  const paint = performance.getEntriesByName("first-contentful-paint")[0];
  return [load.responseEnd, paint.startTime, load.loadEventEnd, load.decodedBodySize];
}"""


def copy_job(url: str, job_id: str) -> None:
    """The job, its stages and its student again, a minute earlier each and with different ends; the student as its next version."""
    engine = create_engine(url)
    with engine.begin() as connection:
        job = dict(connection.execute(select(Job.__table__).where(Job.id == job_id)).mappings().one())
        stages = [dict(row) for row in connection.execute(select(StageRun.__table__).where(StageRun.job_id == job_id)).mappings()]
        student = dict(connection.execute(select(Student.__table__).where(Student.job_id == job_id)).mappings().one())
        missing = JOBS - (connection.scalar(select(func.count()).select_from(Job)) or 0)
        jobs, runs, students = [], [], []
        for number in range(1, missing + 1):
            made, end, name = f"job_{number:016x}", ENDS[number % len(ENDS)], f"student-{number % 250}"
            jobs.append(job | {"id": made, "name": name, "status": end, "created_at": job["created_at"] - timedelta(minutes=number)})
            runs += [{**stage, "job_id": made, "id": None} for stage in stages]
            if end == "succeeded":
                students.append(student | {"id": None, "name": name, "version": number, "job_id": made})
        connection.execute(insert(Job), jobs)
        connection.execute(insert(StageRun), [{key: run[key] for key in run if key != "id"} for run in runs])
        connection.execute(insert(Student), [{key: one[key] for key in one if key != "id"} for one in students])
    engine.dispose()


def texts() -> Iterator[str]:
    rng = random.Random(0)
    words = [*FILLER, *(word for found in SIGNAL.values() for word in found)]
    for number in range(TEXTS):
        first = rng.uniform(0.4, 1)
        others = dict.fromkeys(LABELS, (1 - first) / (len(LABELS) - 1))
        label = LABELS[number % len(LABELS)]
        verdict = "kept" if number % 5 else "near_duplicate"
        probabilities = {**others, label: first} if verdict == "kept" else None
        text = f"{' '.join(rng.choices(words, k=14))} {number}"
        yield json.dumps({"text": text, "label": label, "verdict": verdict, "probabilities": probabilities}) + "\n"


def give_texts(service: Service, job_id: str) -> None:
    key = "texts-to-paint"
    folder = service.folder / key
    folder.mkdir()
    path = folder / SYNTHETIC_FILE
    path.write_text("".join(texts()))
    entry = FileEntry(sha256=file_sha256(path), bytes=path.stat().st_size)
    manifest = ArtefactManifest(stage=Stage.LABEL, key=key, version=1, spec={}, inputs={}, files={SYNTHETIC_FILE: entry}, seconds=1)
    BlobStore(service.environment["STORAGE_URL"], service.folder / "scratch").publish(folder, manifest)
    engine = create_engine(service.environment["DATABASE_URL"])
    with engine.begin() as connection:
        connection.execute(update(StageRun).where(StageRun.job_id == job_id, StageRun.stage == Stage.LABEL).values(artefact_key=key))
    engine.dispose()


def pages(job_id: str, name: str) -> dict[str, str]:
    """The first visit of the texts reads the file; the others find its index."""
    job = f"/ui/jobs/{job_id}"
    return {
        "start": "/",
        "jobs": "/ui/jobs",
        "jobs, a later page": f"/ui/jobs?after=job_{JOBS // 2:016x}",
        "jobs that failed": "/ui/jobs?status=failed",
        "students": "/ui/students",
        "new": "/ui/new",
        "job": job,
        "report": f"{job}/report",
        "student": f"/ui/students/{name}",
        "texts, first visit": f"{job}/texts",
        "texts": f"{job}/texts",
        "texts, page 800": f"{job}/texts?page=800",
        "texts, searched": f"{job}/texts?search=card&label={LABELS[0]}&order=confidence",
    }


def measure(browser: Browser, url: str, path: str, times: int) -> list[float]:
    """Milliseconds until the page is there, paints and has loaded, and its bytes: medians over fresh profiles."""
    seen = []
    for _ in range(times):
        context = browser.new_context(base_url=url, viewport={"width": 1280, "height": 900})
        page = context.new_page()
        page.goto(path, wait_until="load")
        page.wait_for_function("performance.getEntriesByName('first-contentful-paint').length > 0")
        seen.append(page.evaluate(MEASURE))
        context.close()
    return [statistics.median(column) for column in zip(*seen, strict=True)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--times", type=int, default=5, help="visits of each page")
    options = parser.parse_args()
    if CHROMIUM is None:
        parser.error(NO_CHROMIUM)
    with (
        tempfile.TemporaryDirectory(prefix="gendistil-paint-") as folder,
        redis_server() as redis,
        tiny_service(Path(folder), redis) as service,
        headless_chromium() as browser,
    ):
        job = service.done("triage")
        copy_job(service.environment["DATABASE_URL"], job["id"])
        give_texts(service, job["id"])
        print(f"{len(os.sched_getaffinity(0))} cores, load {os.getloadavg()[0]:.1f}, medians of {options.times}")
        print(f"{'page':20} {'answer ms':>10} {'paint ms':>10} {'load ms':>10} {'KB':>6}")
        for name, path in pages(job["id"], "triage").items():
            answer, paint, load, size = measure(browser, service.url, path, 1 if "first" in name else options.times)
            print(f"{name:20} {answer:10.0f} {paint:10.0f} {load:10.0f} {size / 1000:6.0f}", flush=True)
        print(f"load {os.getloadavg()[0]:.1f} at the end")


if __name__ == "__main__":
    main()
