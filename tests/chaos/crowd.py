"""`python -m tests.chaos.crowd`: many jobs queued at once; how quickly the API tells where they stand, and whether any is forgotten."""

import argparse
import itertools
import statistics
import sys
import tempfile
import time
from pathlib import Path

import httpx

from tests.chaos.cluster import Cluster, cluster
from tests.chaos.work import Workload
from tests.e2e.service import ok


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.crowd", description=__doc__)
    parser.add_argument("--jobs", type=int, default=200)
    parser.add_argument("--seconds", type=float, default=120, help="of asking, while two workers are busy")
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="gendistil-crowd-"))
    with cluster(folder, workers=2, settings={"GENDISTIL_WORKER__LOST_AFTER_SECONDS": "60"}) as service:
        work = Workload(folder)
        began = time.monotonic()
        with httpx.Client(base_url=service.url, timeout=60, trust_env=False) as client:
            ids = [
                ok(client.post("/jobs", json={**work.body(number), "name": f"crowd-{number}"}), 202)["id"] for number in range(options.jobs)
            ]
            print(f"{options.jobs} jobs accepted in {time.monotonic() - began:.1f} s")
            before = resident_bytes(service)
            seconds = poll(client, ids, options.seconds)
            after = resident_bytes(service)
        told = sorted(seconds)
        median, late = statistics.median(told), told[int(0.99 * len(told))]
        print(f"{len(told)} polls of a job's status: median {1e3 * median:.1f} ms, 99th percentile {1e3 * late:.1f} ms")
        print(f"API: {before / 1e6:.0f} MB before, {after / 1e6:.0f} MB after")
        overtaken = starts_out_of_order(service)
        print(f"{overtaken} of the teachers that have started did so before one that was queued more than two places earlier")
    return int(median > 0.05 or overtaken > 0)


def poll(client: httpx.Client, ids: list[str], seconds: float) -> list[float]:
    """Seconds that each answer took."""
    end, taken = time.monotonic() + seconds, []
    for job_id in itertools.cycle(ids):
        began = time.monotonic()
        if began > end:
            return taken
        ok(client.get(f"/jobs/{job_id}"))
        taken.append(time.monotonic() - began)
        time.sleep(0.02)
    return taken


def starts_out_of_order(service: Cluster) -> int:
    """Teachers wait in one queue for two workers: none may be passed over."""
    runs = [run for run in service.stage_runs() if run.stage == "finetune_teacher"]
    order = [place for place, run in enumerate(runs) if run.started_at is not None]
    order.sort(key=lambda place: runs[place].started_at.timestamp() if runs[place].started_at else 0.0)
    return sum(abs(place - turn) > 2 for turn, place in enumerate(order))


def resident_bytes(service: Cluster) -> int:
    """Of the API's process."""
    for line in Path(f"/proc/{service.api.pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    raise RuntimeError("the API has ended")


if __name__ == "__main__":
    sys.exit(main())
