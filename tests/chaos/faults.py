"""The kinds of faults. Each strikes while a given stage run runs, and says whether there was anything to strike."""

import random
import signal
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field

import psutil
import psycopg
from celery import Celery

from app.contracts.stages import GRAPH, RUN_STAGE_TASK, Stage, StageStatus
from tests.chaos.cluster import LOST_AFTER_SECONDS, Cluster, StageRunRow
from tests.servers import restart_postgres


@dataclass
class Strikes:
    """Strikes a cluster. `damaged`: keys of artefacts that were changed."""

    cluster: Cluster
    rng: random.Random
    damaged: list[str] = field(default_factory=list)
    _frozen: list[threading.Timer] = field(default_factory=list)

    def settle(self) -> None:
        """Waits until what strikes for a while is over."""
        for timer in self._frozen:
            timer.join()

    def worker_killed(self, run: StageRunRow) -> bool:
        return self._signal_worker(run, signal.SIGKILL)

    def worker_stopped(self, run: StageRunRow) -> bool:
        return self._signal_worker(run, signal.SIGTERM)

    def stage_killed(self, run: StageRunRow) -> bool:
        return self._signal_stage(run, signal.SIGKILL)

    def stage_frozen(self, run: StageRunRow) -> bool:
        """For longer than it takes to give its stage to another: thawed, it must leave that one alone."""
        if not (struck := self._stage_processes(run)):
            return False
        _signal(struck, signal.SIGSTOP)
        thaw = threading.Timer(LOST_AFTER_SECONDS + 1.5, _signal, (struck, signal.SIGCONT))
        thaw.start()
        self._frozen.append(thaw)
        return True

    def redis_emptied(self, _run: StageRunRow) -> bool:
        self.cluster.redis.kill()
        time.sleep(self.rng.uniform(0, 1.5))
        self.cluster.redis.start()
        return True

    def postgres_restarted(self, _run: StageRunRow) -> bool:
        restart_postgres(self.cluster.database_url, self.rng.choice(["fast", "immediate"]), self.rng.uniform(0, 1.5))
        return True

    def api_killed(self, _run: StageRunRow) -> bool:
        self.cluster.api.signal(signal.SIGKILL)
        return True

    def messages_doubled(self, _run: StageRunRow) -> bool:
        """Those of all stages that wait or run."""
        with Celery(broker=self.cluster.redis.url) as producer:
            for run in self.cluster.stage_runs(StageStatus.QUEUED, StageStatus.RUNNING):
                producer.send_task(RUN_STAGE_TASK, args=[run.id], queue=GRAPH[Stage(run.stage)].queue)
        return True

    def storage_away(self, _run: StageRunRow) -> bool:
        self.cluster.store.away(self.rng.uniform(0.3, 2.5), self.rng)
        return True

    def artefact_damaged(self, run: StageRunRow) -> bool:
        """One that a later stage of the same job will read; not while it is read: what was read whole is not read again."""
        with psycopg.connect(self.cluster.database_url) as connection:
            # The lock of its jobs keeps their stages from being claimed meanwhile.
            jobs = "SELECT DISTINCT job_id FROM stage_runs WHERE artefact_key = %s AND shard = 0"
            for key in self._readable(run.job_id):
                named = [job for (job,) in connection.execute(jobs, [key])]
                connection.execute("SELECT id FROM jobs WHERE id = ANY(%s) ORDER BY id FOR UPDATE", [named])
                if not _is_read(self.cluster, key) and (name := self.cluster.store.damage(key, self.rng)):
                    self.damaged.append(f"{key}/{name}")
                    return True
                connection.rollback()
        return False

    def disk_full(self, _run: StageRunRow) -> bool:
        if not self.cluster.disk_full_possible:
            return False
        filler = self.cluster.data_dir / "filler"
        try:
            with filler.open("wb", buffering=0) as file, suppress(OSError):
                while file.write(bytes(1 << 16)):
                    pass
            time.sleep(self.rng.uniform(0.5, 2))
        finally:
            filler.unlink()
        return True

    def _signal_worker(self, run: StageRunRow, number: signal.Signals) -> bool:
        if (worker := self.cluster.worker_of(run)) is None:
            return False
        worker.signal(number)
        return True

    def _signal_stage(self, run: StageRunRow, number: signal.Signals) -> bool:
        struck = self._stage_processes(run)
        _signal(struck, number)
        return bool(struck)

    def _stage_processes(self, run: StageRunRow) -> list[psutil.Process]:
        worker = self.cluster.worker_of(run)
        return worker.stage_processes() if worker else []

    def _readable(self, job_id: str) -> list[str]:
        """Keys of the job's artefacts that it has yet to read, in random order."""
        runs = [run for run in self.cluster.stage_runs() if run.job_id == job_id and not run.shard]
        wanted = {stage for run in runs if run.status != StageStatus.SUCCEEDED for stage in GRAPH[Stage(run.stage)].after}
        keys = [run.artefact_key for run in runs if run.artefact_key and run.stage in wanted]
        self.rng.shuffle(keys)
        return keys


KINDS: dict[str, Callable[[Strikes, StageRunRow], bool]] = {
    strike.__name__: strike
    for strike in (
        Strikes.worker_killed,
        Strikes.worker_stopped,
        Strikes.stage_killed,
        Strikes.stage_frozen,
        Strikes.redis_emptied,
        Strikes.postgres_restarted,
        Strikes.api_killed,
        Strikes.messages_doubled,
        Strikes.storage_away,
        Strikes.artefact_damaged,
        Strikes.disk_full,
    )
}


def _is_read(cluster: Cluster, key: str) -> bool:
    """Whether a stage runs that reads the artefact."""
    makers = {(run.job_id, Stage(run.stage)) for run in cluster.stage_runs(StageStatus.SUCCEEDED) if run.artefact_key == key}
    return any(
        run.job_id == job_id and stage in GRAPH[Stage(run.stage)].after
        for run in cluster.stage_runs(StageStatus.RUNNING)
        for job_id, stage in makers
    )


def _signal(processes: list[psutil.Process], number: signal.Signals) -> None:
    for process in processes:
        try:
            process.send_signal(number)
        except psutil.NoSuchProcess:
            continue
