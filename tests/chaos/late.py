"""`python -m tests.chaos.late`: kills the worker of a long stage when nine tenths of it are done; what that costs, in seconds.

The stages with checkpoints inside. Of the others, `generate` and `label`, a shard is what is done again.
"""

import argparse
import os
import signal
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.chaos.cluster import Cluster, Json, cluster
from tests.chaos.work import Workload
from tests.e2e.service import ok, succeeded
from tests.waiting import wait_for

_SHARE = 0.9
_LONG: dict[str, dict[str, dict[str, Any]]] = {
    "finetune_teacher": {"teacher": {"epochs": 150}},
    # A rate at which the perplexity falls to the end, so that no epoch is the last one early.
    "finetune_generator": {"generator": {"epochs": 60, "learning_rate": 5e-5, "max_train_tokens": 10_000_000}},
    "distil": {"distil": {"epochs": 60, "max_steps": 100_000}},
}


@dataclass(frozen=True)
class Timing:
    """Seconds. `worked`: both attempts together, the first one until it was killed."""

    undisturbed: float
    share: float
    second_attempt: float
    worked: float


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.late", description=__doc__)
    parser.add_argument("--interval", type=float, default=2.0, help="seconds between checkpoints, at least")
    parser.add_argument("--stages", nargs="+", choices=list(_LONG), default=list(_LONG))
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="gendistil-late-"))
    with cluster(folder, workers=1, settings={"GENDISTIL_WORKER__CHECKPOINT_SECONDS": str(options.interval)}) as service:
        work = Workload(folder)
        print(f"a checkpoint every {options.interval:g} s at most; killed is the worker, with SIGKILL")
        for stage in options.stages:
            found = timing(service, work, stage)
            print(
                f"{stage:<20} undisturbed {found.undisturbed:5.1f} s; killed at {found.share:.0%}; second attempt"
                f" {found.second_attempt:4.1f} s; redone, with its start {found.worked - found.undisturbed:4.1f} s",
                flush=True,
            )
    return 0


def timing(service: Cluster, work: Workload, stage: str) -> Timing:
    """Of the stage in two jobs that differ in nothing but its seed."""
    part = next(iter(_LONG[stage]))
    spans = []
    for seed in (1, 2):
        body = work.body(0, **{part: {**_LONG[stage][part], "seed": seed}})
        job_id = ok(service.call("POST", "/jobs", json={**body, "name": f"late-{stage.replace('_', '-')}"}), 202)["id"]
        killed: Json = kill_late(service, job_id, stage) if seed == 2 else {}
        service.follow(job_id, succeeded)
        row = span(service, job_id, stage)
        spans.append((row["seconds"], killed))
    (undisturbed, _), (second, killed) = spans
    return Timing(undisturbed, killed["share"], second, killed["seconds"] + second)


def kill_late(service: Cluster, job_id: str, stage: str) -> Json:
    """The share that was done, and the seconds that the attempt had worked."""

    def late() -> Json | None:
        row = span(service, job_id, stage)
        return row if row["total"] and row["done"] >= _SHARE * row["total"] and row["status"] == "running" else None

    row: Json = wait_for(late, 120, f"nine tenths of {stage}", every=0.02)
    worker = service.workers[0]
    assert worker.pid is not None
    worker.signal(signal.SIGKILL)
    seconds = time.time() - row["started"]
    for process in worker.stage_processes():
        os.kill(process.pid, signal.SIGKILL)
    return {"share": row["done"] / row["total"], "seconds": seconds}


def span(service: Cluster, job_id: str, stage: str) -> Json:
    """The stage's present attempt; of a stage in one piece."""
    return service.rows(
        "SELECT status, progress_done AS done, progress_total AS total, extract(epoch FROM started_at)::float AS started, "
        "extract(epoch FROM finished_at - started_at)::float AS seconds FROM stage_runs WHERE job_id = %s AND stage = %s AND shard = 0",
        job_id,
        stage,
    )[0]


if __name__ == "__main__":
    sys.exit(main())
