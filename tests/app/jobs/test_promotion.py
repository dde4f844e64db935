"""The numbers of versions and the gate before `latest`, on both databases."""

import json
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from sqlalchemy import select
from starlette.testclient import TestClient

from app.contracts.comparison import Comparison, Promote
from app.contracts.stages import Stage
from app.jobs import lifecycle
from app.jobs.promotion import ChampionMoved
from app.tables import Alias, AliasMove, Event, Job, Student
from tests.app.calls import ROWS, accepted, post, refused
from tests.app.jobs.transitions import NewJob, RunId, Sessions, claim, event_types
from tests.waiting import together

RunningJob = Callable[..., str]


@pytest.fixture
def running(sessions: Sessions, new_job: NewJob, run_id: RunId) -> RunningJob:
    """A job of which a stage runs."""

    def create(**options: Any) -> str:
        job_id = new_job(**options)
        claim(sessions, run_id(job_id, Stage.FINETUNE_TEACHER))
        return job_id

    return create


def compared(champion: int | None, won: int = 0, lost: int = 0) -> Comparison:
    score = {"accuracy": (90 + won) / 100, "champion_accuracy": (90 + lost) / 100} if champion else {}
    return Comparison(champion=champion, rows=100, won=won, lost=lost, **score)


def publish(sessions: Sessions, job_id: str, comparison: Comparison | None = None) -> int:
    with sessions.begin() as session:
        job = session.get_one(Job, job_id)
        return lifecycle.publish_version(session, job, kind="cnn", artefact_key=job_id, manifest={}, comparison=comparison).version


def latest(sessions: Sessions) -> int:
    with sessions() as session:
        return session.get_one(Alias, ("default", "triage", "latest")).version


def moves(sessions: Sessions) -> list[tuple[int | None, int | None, str]]:
    with sessions() as session:
        return [(row.from_version, row.to_version, row.cause) for row in session.scalars(select(AliasMove).order_by(AliasMove.id))]


def last_event(sessions: Sessions, job_id: str) -> Event:
    with sessions() as session:
        return session.scalars(select(Event).where(Event.job_id == job_id).order_by(Event.id.desc()).limit(1)).one()


def test_versions_count_up_and_latest_follows(sessions: Sessions, new_job: NewJob, running: RunningJob) -> None:
    with pytest.raises(lifecycle.JobStopped):
        publish(sessions, new_job())  # nothing of it runs
    jobs = [running(), running()]
    assert [publish(sessions, job_id) for job_id in jobs] == [1, 2]
    assert publish(sessions, jobs[0]) == 1
    assert latest(sessions) == 2
    assert event_types(sessions, jobs[0]).count("student_published") == 1


def test_two_jobs_that_publish_together_get_two_versions(sessions: Sessions, running: RunningJob) -> None:
    jobs = [running(), running()]
    versions = together(*(partial(publish, sessions, job_id) for job_id in jobs))
    assert sorted(versions) == [1, 2]


def test_latest_moves_to_a_version_that_is_not_worse(sessions: Sessions, running: RunningJob) -> None:
    jobs = [running(), running()]
    publish(sessions, jobs[0], compared(None))
    publish(sessions, jobs[1], compared(1, won=4, lost=2))
    assert latest(sessions) == 2
    assert moves(sessions) == [(None, 1, "publish"), (1, 2, "publish")]
    event = last_event(sessions, jobs[1])
    assert event.type == "latest_moved"
    assert event.data["comparison"]["won"] == 4
    assert "not worse than triage:1" in event.message
    with sessions() as session:
        assert session.get_one(Job, jobs[1]).warnings == []
        student = session.scalars(select(Student).where(Student.version == 2)).one()
        assert student.promotion["moved"]
        assert student.promotion["comparison"] == compared(1, won=4, lost=2).model_dump(mode="json")


def test_latest_stays_at_a_better_one_and_the_job_says_so(sessions: Sessions, running: RunningJob) -> None:
    jobs = [running(), running()]
    publish(sessions, jobs[0], compared(None))
    assert publish(sessions, jobs[1], compared(1, lost=9)) == 2
    assert latest(sessions) == 1
    assert moves(sessions) == [(None, 1, "publish")]
    event = last_event(sessions, jobs[1])
    assert event.type == "latest_kept"
    assert (event.data["version"], event.data["before"]) == (2, 1)
    with sessions() as session:
        assert not session.scalars(select(Student).where(Student.version == 2)).one().promotion["moved"]
        (warning,) = session.get_one(Job, jobs[1]).warnings
    assert "triage@latest stays at triage:1, as triage:2 is worse than triage:1: accuracy 90.0 % against 99.0 %" in warning
    assert 'PUT /students/triage/aliases/latest {"version": 2}' in warning
    assert "`gendistil alias triage latest 2`" in warning


@pytest.mark.parametrize(("promote", "expected"), [(Promote.ALWAYS, 2), (Promote.NEVER, 1)])
def test_the_job_may_decide_otherwise_and_say_why(sessions: Sessions, running: RunningJob, promote: Promote, expected: int) -> None:
    publish(sessions, running(), compared(None))
    worse, better = compared(1, lost=9), compared(1, won=9)
    job_id = running(promote=promote, promote_reason="the labels were wrong before")
    publish(sessions, job_id, worse if promote == Promote.ALWAYS else better)
    assert latest(sessions) == expected
    event = last_event(sessions, job_id)
    assert f"promote: {promote} (the labels were wrong before)" in event.data["reason"]
    with sessions() as session:
        assert session.get_one(Job, job_id).warnings == []
        if promote == Promote.ALWAYS:
            reason = session.scalars(select(AliasMove.reason).order_by(AliasMove.id.desc())).first()
            assert "the labels were wrong before" in reason


def test_the_first_version_is_latest_whatever_was_asked_for(sessions: Sessions, running: RunningJob) -> None:
    publish(sessions, running(promote=Promote.NEVER), compared(None))
    assert latest(sessions) == 1


@pytest.mark.parametrize("champion", [None, 1])
def test_a_comparison_with_another_version_decides_nothing(sessions: Sessions, running: RunningJob, champion: int | None) -> None:
    for number in (1, 2):
        publish(sessions, running(), compared(number - 1 or None))
    job_id = running()
    with pytest.raises(ChampionMoved):
        publish(sessions, job_id, compared(champion))
    assert publish(sessions, job_id, compared(2)) == 3
    assert latest(sessions) == 3


def test_of_two_first_versions_one_is_compared_with_the_other(sessions: Sessions, running: RunningJob) -> None:
    def attempt(job_id: str) -> str:
        try:
            publish(sessions, job_id, compared(None))
        except ChampionMoved:
            return "again"
        return "done"

    for _ in range(3):
        jobs = [running(), running()]
        outcomes = together(*(partial(attempt, job_id) for job_id in jobs))
        assert sorted(outcomes) == ["again", "done"]
        publish(sessions, jobs[outcomes.index("again")], compared(1))
        assert latest(sessions) == 2
        with sessions.begin() as session:
            for table in (Student, Alias, AliasMove):
                session.query(table).delete()


def test_a_job_says_what_was_asked_for(api: TestClient) -> None:
    asked = {"promote": "never", "promote_reason": "a trial"}
    made = accepted(api, **asked)
    assert {field: made[field] for field in asked} == asked
    form = {"name": "triage", **asked}
    content = "\n".join(json.dumps(row) for row in ROWS)
    assert api.post("/jobs", data=form, files={"file": ("rows.jsonl", content)}).json()["promote"] == "never"
    plain = accepted(api, dataset=made["dataset_id"])
    assert (plain["promote"], plain["promote_reason"]) == ("if_not_worse", None)


@pytest.mark.parametrize("asked", [{"promote": "perhaps"}, {"promote": None}, {"promote_reason": "a\x00b"}, {"promote_reason": "x" * 501}])
def test_what_cannot_be_asked_for(api: TestClient, asked: dict[str, Any]) -> None:
    problem = refused(post(api, **asked), 422, "invalid-request")
    assert [error["column"] for error in problem["errors"]] == list(asked)
