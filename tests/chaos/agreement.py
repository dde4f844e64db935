"""Whether what a job makes depends on how many workers there are, or on what happened to them."""

import json
from pathlib import Path

from tests.chaos.cluster import Cluster, cluster
from tests.chaos.stores import MANIFEST
from tests.chaos.work import Workload
from tests.e2e.service import ok, succeeded


def transfer_set(service: Cluster, job_id: str) -> dict[str, str]:
    """SHA-256 of each file that the job's `generate` and `label` have made; empty of a stage that is not done."""
    return {**made_by(service, job_id, "generate"), **made_by(service, job_id, "label")}


def made_by(service: Cluster, job_id: str, stage: str) -> dict[str, str]:
    """SHA-256 of each file of the stage's artefact; empty if it is not done."""
    found: dict[str, str] = {}
    for run in service.stage_runs("succeeded"):
        if run.job_id == job_id and run.stage == stage and not run.shard:
            manifest = json.loads(service.store.read(f"artefacts/{run.artefact_key}/{MANIFEST}"))
            found.update({f"{stage}/{name}": entry["sha256"] for name, entry in manifest["files"].items()})
    return found


def undisturbed(folder: Path, workers: int) -> dict[str, str]:
    """The transfer set of the campaign's first job, on a cluster of its own in `folder` where nothing goes wrong."""
    folder.mkdir()
    work = Workload(folder)
    with cluster(folder, workers) as service:
        job = ok(service.call("POST", "/jobs", json=work.body(0)), 202)
        service.follow(job["id"], succeeded)
        return transfer_set(service, job["id"])
