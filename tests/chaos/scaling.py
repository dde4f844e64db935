"""`python -m tests.chaos.scaling`: seconds that the default generator samples for, on one worker of one core and on two."""

import argparse
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

from tests.chaos.agreement import made_by
from tests.chaos.cluster import cluster
from tests.e2e.service import banking, ok, stage_of

_SPEC: dict[str, Any] = {
    "teacher": {"epochs": 1},
    "generator": {"max_train_tokens": 1500, "epochs": 1},
    "generate": {"shard_tokens": 4000, "seed_token_cost": 0.0},
}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.scaling", description=__doc__)
    parser.add_argument("--tokens", type=int, default=14_000, help="in all kept texts; in four shards")
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2])
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="gendistil-scaling-"))
    seconds, texts = {}, {}
    for workers in options.workers:
        seconds[workers], texts[workers] = sampling(folder / f"workers{workers}", workers, options.tokens)
        ratio = seconds[workers] / seconds[options.workers[0]]
        print(f"{workers} workers of one core: {seconds[workers]:.1f} s, {ratio:.2f} of the first", flush=True)
    agree = len({json.dumps(found, sort_keys=True) for found in texts.values()}) == 1
    print("the same texts, byte for byte" if agree else "WRONG: the texts differ")
    return int(not agree)


def sampling(folder: Path, workers: int, tokens: int) -> tuple[float, dict[str, str]]:
    """Seconds from the start of the first shard to the end of the stage, and the hashes of what it made."""
    folder.mkdir()
    spec = {**_SPEC, "generate": {**_SPEC["generate"], "tokens": tokens}}
    body = {"name": "scaling", "dataset": banking(["card_arrival", "failed_transfer"], 22, 20), "preset": "fast", "spec": spec}
    # Long silences are no deaths here: the machine is as busy as it can be.
    with cluster(folder, workers, settings={"GENDISTIL_WORKER__LOST_AFTER_SECONDS": "60"}) as service:
        job_id = ok(service.call("POST", "/jobs", json=body), 202)["id"]
        service.follow(job_id, lambda job: stage_of(job, "generate")["status"] == "succeeded", seconds=1800, every=1)
        found = service.rows(
            "SELECT extract(epoch FROM max(finished_at) - min(started_at) FILTER (WHERE shard > 0))::float AS seconds "
            "FROM stage_runs WHERE job_id = %s AND stage = 'generate'",
            job_id,
        )[0]["seconds"]
        texts = made_by(service, job_id, "generate")
        service.call("POST", f"/jobs/{job_id}/cancel")
    return found, texts


if __name__ == "__main__":
    sys.exit(main())
