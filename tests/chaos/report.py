"""Carries out a campaign, and reports what was injected, survived and lost."""

import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from app.contracts.stages import Stage
from tests.chaos.agreement import transfer_set
from tests.chaos.campaign import Campaign, Stuck
from tests.chaos.cluster import cluster
from tests.chaos.faults import KINDS
from tests.chaos.history import FRUITFUL, FRUITLESS, attempts, events_of, seconds_by_stage
from tests.chaos.invariants import violations
from tests.chaos.work import Workload

_DISK_BYTES = 256 << 20


@dataclass(frozen=True)
class ChaosReport:
    """Seconds of attempts that came to something (`useful`) and that did not (`lost`, until that was noticed), by stage.

    `injected`: by kind and stage. `fruitless`: attempts without a result, by the type of the event that ended them. `left_out`: kinds of
    faults that this machine does not allow. `transfer_set`: of the first job, see `agreement`.
    """

    seed: int
    storage: str
    workers: int
    jobs: int
    seconds: float
    injected: dict[str, dict[str, int]]
    left_out: list[str]
    resumed: dict[str, int]
    fruitless: dict[str, int]
    useful: dict[str, float]
    lost: dict[str, float]
    transfer_set: dict[str, str]
    violations: list[str]

    @property
    def faults(self) -> int:
        return sum(sum(stages.values()) for stages in self.injected.values())

    def as_json(self) -> dict[str, Any]:
        return {**asdict(self), "faults": self.faults}

    def as_text(self) -> str:
        width = max(map(len, KINDS))
        short = [stage.value.replace("finetune_", "") for stage in Stage]
        lines = [
            f"{self.faults} faults over {self.jobs} jobs in {self.seconds:.0f} s",
            f"{self.workers} workers, storage {self.storage}, seed {self.seed}",
            " ".join([" " * width, *(f"{name:>9}" for name in short)]),
        ]
        for kind, stages in self.injected.items():
            lines.append(" ".join([f"{kind:<{width}}", *(f"{stages.get(stage, 0):>9}" for stage in Stage)]))
        for name, seconds in (("useful s", self.useful), ("lost s", self.lost)):
            lines.append(" ".join([f"{name:<{width}}", *(f"{seconds.get(stage, 0.0):>9.1f}" for stage in Stage)]))
        lines.append(f"attempts without a result: {self.fruitless or 'none'}; jobs resumed after a final error: {self.resumed or 'none'}")
        if self.left_out:
            lines.append(f"not possible here: {', '.join(self.left_out)}")
        lines += [f"WRONG: {violation}" for violation in self.violations] or ["all that must hold does"]
        return "\n".join(lines)


def carry_out(
    folder: Path,
    *,
    jobs: int,
    faults: int,
    seed: int,
    max_jobs: int | None = None,
    workers: int = 2,
    s3: bool = False,
    seconds: float = 600,
    settings: Mapping[str, str] | None = None,
) -> ChaosReport:
    """Runs `jobs` jobs under `faults` faults on a cluster of its own in `folder`.

    Up to `max_jobs`, by default twice as many, if the faults find too little to strike. After `seconds` it counts as stuck, which is a
    violation as well.
    """
    began = time.monotonic()
    work = Workload(folder)
    with cluster(folder, workers, s3=s3, disk_bytes=_DISK_BYTES, settings=settings) as service:
        campaign = Campaign(
            service, work, seed, jobs, max_jobs or 2 * jobs, faults, at_once=workers + 1, deadline=time.monotonic() + seconds
        )
        stuck: list[str] = []
        try:
            campaign.run()
        except Stuck as error:
            stuck = [str(error)]
        events = events_of(service)
        spans = attempts(events)
        injected = {kind: dict(Counter(fault.stage.value for fault in campaign.struck if fault.kind == kind)) for kind in KINDS}
        return ChaosReport(
            seed=seed,
            storage="s3" if s3 else "local",
            workers=workers,
            jobs=len(campaign.jobs),
            seconds=round(time.monotonic() - began, 1),
            injected={kind: stages for kind, stages in injected.items() if stages},
            left_out=[] if service.disk_full_possible else ["disk_full"],
            resumed=dict(campaign.resumed),
            fruitless=dict(Counter(span.end for span in spans if span.end in FRUITLESS)),
            useful=seconds_by_stage(spans, FRUITFUL),
            lost=seconds_by_stage(spans, FRUITLESS),
            transfer_set=transfer_set(service, campaign.jobs[0]),
            violations=stuck + violations(service, campaign.jobs, events),
        )
