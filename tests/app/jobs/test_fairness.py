"""Whose turn it is, on both databases. Messages go by way of a real Redis; what a stage does is left out, its transitions are real."""

from collections import Counter
from collections.abc import Callable
from functools import partial
from itertools import groupby

import pytest
import redis
from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from app.config import Settings
from app.contracts.stages import GRAPH, JobStatus, Stage, StageStatus
from app.jobs import lifecycle
from app.jobs.fairness import next_run
from app.jobs.sweeping import sweep, waiting_by_queue
from app.ownership import every_project, in_project
from app.queue import producer, queue_of, send_pending
from app.tables import Job, Project, StageRun, utcnow
from tests.app.jobs.test_sweeping import MINUTE, age
from tests.app.jobs.transitions import DONE, ERROR, NewJob, ReadJob, RunId, Sessions, cancel
from tests.waiting import together

Turn = tuple[str, str, str]
"""A project, its job and the stage."""


class Service:
    """Jobs of projects, and workers that take turns for the messages in Redis. `running`: jobs of the project after each claim."""

    def __init__(self, sessions: Sessions, new_job: NewJob, broker: redis.Redis) -> None:
        self.sessions, self._new_job, self.broker = sessions, new_job, broker
        self.running: list[tuple[str, int]] = []

    def project(self, id: str, jobs_running: int | None = None) -> None:
        with self.sessions.begin() as session:
            session.merge(Project(id=id, jobs_running=jobs_running))

    def job(self, project: str) -> str:
        with self.sessions.begin() as session:
            if session.get(Project, project) is None:
                session.add(Project(id=project))
        with in_project(project):
            job_id = self._new_job(content=project)
            with self.sessions() as session:
                queued = select(StageRun).where(StageRun.job_id == job_id, StageRun.status == StageStatus.QUEUED)
                for run in session.scalars(queued):
                    lifecycle.enqueue(session, run.id, Stage(run.stage))
                send_pending(session)
        return job_id

    def change(self, project: str, act: Callable[[Session], object]) -> None:
        """Acts in a transaction, and sends its messages after that."""
        with in_project(project):
            with self.sessions.begin() as session:
                act(session)
            send_pending(session)

    def messages(self) -> dict[str, int]:
        return {queue: int(self.broker.llen(queue)) for queue in ("gpu", "cpu")}

    def begin(self, queue: str) -> tuple[Turn, int] | None:
        """What a worker does with a message of the queue: the turn that it takes, and the id of its run."""
        with self.sessions.begin() as session:
            chosen = next_run(session, [stage for stage in Stage if queue_of(stage) == queue])
            if chosen is None:
                return None
            run_id, project = chosen
            with in_project(project):
                run = lifecycle.claim(session, run_id, "worker")
                assert run is not None
                running = session.scalar(select(func.count()).select_from(Job).where(Job.status == JobStatus.RUNNING))
                self.running.append((project, running or 0))
                return (project, run.job_id, run.stage), run_id

    def end(self, turn: Turn, run_id: int) -> None:
        self.change(turn[0], partial(lifecycle.finish_stage, run_id=run_id, attempt=1, artefact_key=f"key-{run_id}", **DONE))

    def work(self) -> list[Turn]:
        """What one worker does until there is no message left."""
        turns = []
        while (queue := next((queue for queue in ("cpu", "gpu") if self.broker.rpop(queue)), None)) is not None:
            if (begun := self.begin(queue)) is not None:
                turns.append(begun[0])
                self.end(*begun)
        return turns

    @every_project()
    def jobs(self) -> Counter[tuple[str, str]]:
        with self.sessions() as session:
            return Counter((project, status) for project, status in session.execute(select(Job.project_id, Job.status)))


@pytest.fixture
def service(sessions: Sessions, new_job: NewJob, service_env: Settings) -> Service:
    producer.cache_clear()
    return Service(sessions, new_job, redis.Redis.from_url(service_env.redis_url))


def test_one_job_of_a_project_does_not_wait_for_fifty_of_another(service: Service) -> None:
    many = [service.job("a") for _ in range(50)]
    one = service.job("b")
    turns = service.work()
    of_one = [number for number, turn in enumerate(turns, 1) if turn[1] == one]
    assert of_one[0] <= 2
    assert of_one[-1] <= 2 * len(GRAPH)
    assert service.jobs() == {("a", "succeeded"): 50, ("b", "succeeded"): 1}
    # The first ends before the second begins.
    assert [job for job, _ in groupby(turn[1] for turn in turns if turn[0] == "a")] == many


def test_the_project_with_the_fewest_runs_at_work_comes_first(service: Service) -> None:
    for project in "aaabbc":
        service.job(project)
    begun = [service.begin("gpu") for _ in range(12)]
    assert [turn[0][0] for turn in begun if turn] == ["a", "b", "c", "a", "b", "c", "a", "b", "a", "b", "a", "a"]
    assert service.begin("gpu") is None


def test_of_equals_the_one_that_was_served_longest_ago_comes_first(service: Service) -> None:
    for project in "abc":
        service.job(project)
    for project in "abcabc":
        begun = service.begin("gpu")
        assert begun is not None
        assert begun[0][0] == project
        service.end(*begun)


def test_queues_are_apart(service: Service) -> None:
    service.job("a")
    assert service.begin("cpu") is None
    assert service.begin("no-such-queue") is None
    assert service.begin("gpu") is not None


@pytest.mark.parametrize("ending", ["succeeds", "fails", "is cancelled"])
def test_the_next_job_begins_when_the_one_before_it_ends(service: Service, ending: str) -> None:
    service.project("a", jobs_running=1)
    first, second, third = [service.job("a") for _ in range(3)]
    other = service.job("b")
    begun = [service.begin("gpu") for _ in range(int(service.broker.llen("gpu")))]
    service.broker.delete("gpu")
    held = [turn for turn in begun if turn is not None]
    assert Counter(turn[1] for turn, _ in held) == {first: 2, other: 2}  # the messages of the others were for nothing
    assert service.jobs() == {("a", "running"): 1, ("a", "queued"): 2, ("b", "running"): 1}
    for turn, run_id in held:
        if turn[1] == other or ending == "succeeds":
            service.end(turn, run_id)
    if ending == "fails":
        fail = partial(lifecycle.fail_stage, attempt=1, error=ERROR, retry=False, max_attempts=3)
        service.change("a", partial(fail, run_id=next(run_id for turn, run_id in held if turn[1] == first)))
    elif ending == "is cancelled":

        def stop(session: Session) -> None:
            job = lifecycle.lock_job(session, first)
            assert job is not None
            lifecycle.cancel_job(session, job)

        service.change("a", stop)
    turns = service.work()
    assert [job for job, _ in groupby(turn[1] for turn in turns if turn[0] == "a" and turn[1] != first)] == [second, third]
    ended = {"succeeds": JobStatus.SUCCEEDED, "fails": JobStatus.FAILED, "is cancelled": JobStatus.CANCELLED}[ending]
    expected = Counter({("b", "succeeded"): 1, ("a", "succeeded"): 2})
    expected["a", ended.value] += 1
    assert service.jobs() == expected


def test_a_queued_job_that_is_cancelled_leaves_its_place_to_the_next(service: Service) -> None:
    service.project("default", jobs_running=1)
    first, second = service.job("default"), service.job("default")
    service.broker.delete("gpu")
    cancel(service.sessions, first)
    begun = service.begin("gpu")
    assert begun is not None
    assert begun[0][1] == second


def test_no_place_at_all_holds_all_jobs_back(service: Service) -> None:
    service.project("a", jobs_running=0)
    service.job("a")
    assert service.work() == []
    service.project("a", jobs_running=None)
    assert service.begin("gpu") is not None


def test_the_sweeper_leaves_what_is_held_back(service: Service) -> None:
    def swept() -> int:
        with service.sessions.begin() as session:
            return sweep(session, MINUTE, MINUTE, 3)

    service.project("default", jobs_running=1)
    for _ in range(3):
        service.job("default")
    with service.sessions() as session:
        assert waiting_by_queue(session) == {"gpu": 2}
    age(service.sessions, 61)
    assert swept() == 2
    for _ in range(2):
        assert service.begin("gpu") is not None
    age(service.sessions, 61)
    with service.sessions.begin() as session:
        session.execute(update(StageRun).where(StageRun.status == StageStatus.RUNNING).values(heartbeat_at=utcnow()))
    assert swept() == 0
    service.project("default", jobs_running=2)
    assert swept() == 2


def test_a_retry_waits_for_the_message_of_its_own(service: Service, run_id: RunId, read_job: ReadJob) -> None:
    """Else it would use up that of another, which then waits although a worker is free."""
    first, second = service.job("default"), service.job("default")
    service.broker.delete("gpu")
    failed = run_id(first, Stage.FINETUNE_TEACHER)
    with service.sessions.begin() as session:
        assert lifecycle.claim(session, failed, "worker") is not None
        assert lifecycle.fail_stage(session, failed, 1, ERROR, retry=True, max_attempts=3, delay=MINUTE)
    with service.sessions.begin() as session:
        session.execute(update(StageRun).where(StageRun.id == failed).values(not_before=utcnow() - MINUTE))
    begun = [service.begin("gpu") for _ in range(4)]
    assert [turn[0][1] for turn in begun if turn] == [first, second, second]
    service.change("default", lambda session: sweep(session, MINUTE, MINUTE, 3))
    assert service.messages() == {"gpu": 1, "cpu": 0}
    again = service.begin("gpu")
    assert again is not None
    assert again[1] == failed


def test_workers_at_once_never_take_the_same_stage_and_lose_none(service: Service) -> None:
    service.project("a", jobs_running=2)
    for project in "aaaabb":
        service.job(project)
    turns = [turn for done in together(*[service.work] * 4) for turn in done]
    assert service.jobs() == {("a", "succeeded"): 4, ("b", "succeeded"): 2}
    assert len(turns) == len(set(turns)) == 6 * len(GRAPH)
    assert max(running for project, running in service.running if project == "a") <= 2
