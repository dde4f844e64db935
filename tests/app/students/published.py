"""Published versions, without the files of a student."""

from typing import Any

from app.contracts.projects import DEFAULT_PROJECT
from app.database import transaction
from app.jobs import lifecycle
from app.ownership import current_project
from app.tables import Dataset, Job

MANIFEST = {
    "kind": "cnn",
    "labels": ["a", "b"],
    "max_tokens": 128,
    "pad_id": 0,
    "parameters": 1_100_000,
    "bytes": 4_500_000,
    "parity": {"max_abs_logit_difference": 1e-6, "rows": 20.0},
    "metrics": {"accuracy": 0.91, "macro_f1": 0.9},
    "lineage": {},
}


def register(name: str, job_id: str, key: str, manifest: dict[str, Any], label_counts: dict[str, int]) -> int:
    """Publishes a version as a job that runs does, from a dataset of `label_counts` that is made once; returns the version."""
    own = current_project() == DEFAULT_PROJECT
    dataset_id, content_hash = ("ds_1", "d" * 64) if own else (f"ds_{current_project()}", current_project())
    with transaction() as session:
        if session.get(Dataset, dataset_id) is None:
            rows = {"rows": sum(label_counts.values()), "test_rows": 0, "label_counts": label_counts, "mean_chars": 9.0}
            session.add(Dataset(id=dataset_id, content_hash=content_hash, warnings=[], **rows))
            session.flush()
        job = Job(id=job_id, name=name, dataset_id=dataset_id, preset="fast", spec={}, status="running", warnings=[])
        session.add(job)
        session.flush()
        return lifecycle.publish_version(session, job, kind=manifest["kind"], artefact_key=key, manifest=manifest).version


def publish(name: str, number: int) -> None:
    """A version of the job `job_<name>_<number>`."""
    register(name, f"job_{name}_{number}", f"{name}-{number}", MANIFEST, {"a": 5, "b": 5})
