"""A run of many faults against many jobs, drawn from a seed."""

import random
import sys
import time
from collections import Counter
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from statistics import median

from app.contracts.stages import JobStatus, Stage, StageStatus
from tests.chaos.cluster import Cluster, Json, StageRunRow
from tests.chaos.faults import KINDS, Strikes
from tests.chaos.work import Workload
from tests.e2e.service import ok

FINAL = {"disk-full"}
"""Errors that end a job because nothing but a person can mend them: the campaign then does, and resumes the job."""
_TYPICAL_SECONDS = 2.0
"""Of a stage, until one has been seen."""


class Stuck(Exception):
    """The campaign cannot go on."""


@dataclass(frozen=True)
class Planned:
    """`moment`: the share of the stage's usual time after which it strikes."""

    kind: str
    stage: Stage
    moment: float


@dataclass
class Campaign:
    """Submits `min_jobs`, and more up to `max_jobs` if faults are left that met no stage.

    `struck`: what was injected. `resumed`: jobs that failed with a final error and were resumed, by that error's type.
    """

    cluster: Cluster
    work: Workload
    seed: int
    min_jobs: int
    max_jobs: int
    faults: int
    at_once: int
    deadline: float
    struck: list[Planned] = field(default_factory=list)
    resumed: Counter[str] = field(default_factory=Counter)
    jobs: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._rng = random.Random(self.seed)
        self.strikes = Strikes(self.cluster, random.Random(self.seed + 1))
        self._plan = planned(self.faults, self._rng, disk_full=self.cluster.disk_full_possible)
        self._for_job: dict[str, list[Planned]] = {}
        self._typical: dict[str, float] = {}

    def run(self) -> None:
        """Returns once the faults are through and all jobs have ended. Raises `Stuck` if that takes too long, or a job fails for good."""
        try:
            while self._go_on():
                if time.monotonic() > self.deadline:
                    raise Stuck(f"not through in time: {len(self.struck)} of {self.faults} faults, jobs {self._states()}")
                self._strike()
                time.sleep(0.05)
        finally:
            self.strikes.settle()

    def _go_on(self) -> bool:
        """Looks after the jobs: resumes them, hands on the faults that missed their stage, and submits new jobs."""
        states = self._states()
        is_open = [job_id for job_id, job in states.items() if job["status"] != JobStatus.SUCCEEDED]
        for job_id in is_open:
            if states[job_id]["status"] == JobStatus.FAILED:
                self._resume(job_id, states[job_id]["error"])
        self._replan(is_open)
        wanted = self.min_jobs if not self._plan else self.max_jobs
        if len(is_open) < self.at_once and len(self.jobs) < wanted:
            self._submit()
            return True
        return bool(is_open)

    def _submit(self) -> None:
        number = len(self.jobs)
        headers = {"Idempotency-Key": f"chaos-{self.seed}-{number}"}
        job = ok(self.cluster.call("POST", "/jobs", json=self.work.body(number), headers=headers), 202)
        self.jobs.append(job["id"])
        jobs_left = max(self.min_jobs - number, 1)
        share = -(-len(self._plan) // jobs_left)
        self._for_job[job["id"]], self._plan = self._plan[:share], self._plan[share:]

    def _replan(self, is_open: list[str]) -> None:
        """Takes faults from stages that are over; once no jobs are to come, other stages get them."""
        over = {(run.job_id, run.stage) for run in self.cluster.stage_runs(StageStatus.SUCCEEDED) if not run.shard}
        for job_id, faults in self._for_job.items():
            missed = [fault for fault in faults if (job_id, fault.stage) in over]
            self._for_job[job_id] = [fault for fault in faults if fault not in missed]
            self._plan += missed
        left = [(job_id, stage) for job_id in is_open if job_id in self._for_job for stage in Stage if (job_id, stage) not in over]
        while len(self.jobs) >= self.min_jobs and left and self._plan:
            job_id, stage = self._rng.choice(left)
            self._for_job[job_id].append(replace(self._plan.pop(), stage=stage))

    def _resume(self, job_id: str, error: Json) -> None:
        if error["type"] not in FINAL:
            raise Stuck(f"job {job_id} failed: {error}")
        answer = self.cluster.call("POST", f"/jobs/{job_id}/resume")
        if answer.status_code == 202:
            self.resumed[error["type"]] += 1
        else:  # a sibling stage is still at work; asked again in the next round
            assert answer.status_code == 409, answer.text

    def _strike(self) -> None:
        """Injects at most one fault that is due."""
        runs = self.cluster.stage_runs(StageStatus.RUNNING)
        self._rng.shuffle(runs)
        due = [(fault, run) for run in runs for fault in self._for_job.get(run.job_id, []) if self._is_due(fault, run)]
        for fault, run in due:
            if KINDS[fault.kind](self.strikes, run):
                self._for_job[run.job_id].remove(fault)
                self.struck.append(fault)
                print(f"{len(self.struck)}/{self.faults} {fault.kind} in {fault.stage} of {run.job_id}", file=sys.stderr, flush=True)
                return

    def _is_due(self, fault: Planned, run: StageRunRow) -> bool:
        return fault.stage == run.stage and self._age(run) >= fault.moment * self._typical.get(run.stage, _TYPICAL_SECONDS)

    def _age(self, run: StageRunRow) -> float:
        return (datetime.now(UTC) - run.started_at).total_seconds() if run.started_at else 0.0

    def _states(self) -> dict[str, Json]:
        rows = self.cluster.rows("SELECT id, status, error FROM jobs")
        took = self.cluster.rows(
            "SELECT stage, extract(epoch FROM finished_at - started_at)::float AS seconds FROM stage_runs "
            "WHERE status = 'succeeded' AND NOT reused AND attempt = 1"
        )
        for stage in Stage:
            if seconds := [row["seconds"] for row in took if row["stage"] == stage]:
                self._typical[stage] = median(seconds)
        return {row["id"]: row for row in rows}


def planned(faults: int, rng: random.Random, *, disk_full: bool) -> list[Planned]:
    """Each kind with each stage about equally often, in random order."""
    pairs: list[tuple[str, Stage]] = []
    while len(pairs) < faults:
        # Kinds in turn, so that even a few faults are of many kinds.
        kinds = [kind for kind in KINDS if kind != "disk_full" or disk_full]
        rng.shuffle(kinds)
        stages = list(Stage)
        rng.shuffle(stages)
        pairs += [(kind, stages[(place + len(pairs)) % len(stages)]) for place, kind in enumerate(kinds)]
    return [Planned(kind, stage, rng.uniform(0, 0.8)) for kind, stage in pairs[:faults]]
