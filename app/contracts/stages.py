"""The stage graph: which stages there are, what each waits for, reads and is queued on. Run order lives here alone."""

from dataclasses import dataclass
from enum import StrEnum

RUN_STAGE_TASK = "gendistil.run_stage"
"""Name of the Celery task; its only argument is the id of a stage run."""


class Stage(StrEnum):
    FINETUNE_TEACHER = "finetune_teacher"
    FINETUNE_GENERATOR = "finetune_generator"
    GENERATE = "generate"
    LABEL = "label"
    DISTIL = "distil"
    PUBLISH = "publish"


class JobStatus(StrEnum):
    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"


class StageStatus(StrEnum):
    """`pending` waits for other stages, `queued` may be claimed by a worker, `sharded` waits for its shards."""

    PENDING = "pending"
    QUEUED = "queued"
    RUNNING = "running"
    SHARDED = "sharded"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"


@dataclass(frozen=True)
class StageNode:
    """One stage. `version` is raised when its code changes what it produces, so that old artefacts are not reused."""

    after: tuple[Stage, ...]
    spec_parts: tuple[str, ...]
    queue: str
    unit: str
    version: int = 1
    reusable: bool = True


GRAPH: dict[Stage, StageNode] = {
    Stage.FINETUNE_TEACHER: StageNode((), ("split", "teacher"), "gpu", "epochs", version=2),
    Stage.FINETUNE_GENERATOR: StageNode((), ("split", "generator"), "gpu", "epochs", version=3),
    Stage.GENERATE: StageNode((Stage.FINETUNE_GENERATOR,), ("split", "generator", "generate"), "gpu", "texts", version=7),
    Stage.LABEL: StageNode((Stage.FINETUNE_TEACHER, Stage.GENERATE), ("split", "teacher", "label"), "gpu", "texts", version=4),
    Stage.DISTIL: StageNode((Stage.FINETUNE_TEACHER, Stage.LABEL), ("split", "distil"), "gpu", "epochs", version=3),
    Stage.PUBLISH: StageNode(
        (Stage.FINETUNE_TEACHER, Stage.LABEL, Stage.DISTIL),
        ("split", "teacher", "distil", "publish"),
        "cpu",
        "rows",
        version=4,
        reusable=False,
    ),
}


def ready(done: set[Stage]) -> list[Stage]:
    """Stages whose predecessors are all in `done`, in run order, without those done themselves."""
    return [stage for stage, node in GRAPH.items() if stage not in done and set(node.after) <= done]
