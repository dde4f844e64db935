"""Whose file comes next, on both databases."""

from datetime import timedelta

from app.bulk import lifecycle
from app.config import Settings
from app.contracts.bulk import BulkStatus
from app.database import transaction
from app.ownership import every_project, in_project
from app.tables import BulkPrediction, utcnow
from tests.waiting import together


def queued(project: str, id: str, delay: timedelta | None = None) -> None:
    with in_project(project), transaction() as session:
        session.add(
            BulkPrediction(
                id=id,
                student="triage",
                version=1,
                artefact_key="key",
                options={},
                layout={},
                input_hash="hash",
                input_bytes=1,
                rows=1,
                status=BulkStatus.QUEUED,
                queued_at=utcnow(),
                not_before=utcnow() + delay if delay else None,
            )
        )


def begin() -> str | None:
    """The one that a worker takes."""
    with every_project(), transaction() as session:
        chosen = lifecycle.next_in_turn(session)
        if chosen is not None:
            assert lifecycle.claim(session, chosen, "worker") is not None
        return chosen


def end(id: str) -> None:
    with every_project(), transaction() as session:
        assert lifecycle.finish(session, id, 1, rows=1, parts=[], result_bytes=0)


def test_one_file_of_a_project_does_not_wait_for_ten_of_another(service_env: Settings) -> None:
    for number in range(10):
        queued("a", f"a-{number}")
    queued("b", "b-0")
    order = []
    while (chosen := begin()) is not None:
        order.append(chosen)
        end(chosen)
    assert order == ["a-0", "b-0", *(f"a-{number}" for number in range(1, 10))]


def test_the_project_with_the_fewest_files_at_work_comes_first(service_env: Settings) -> None:
    for id in ("a-0", "a-1", "a-2", "b-0", "b-1"):
        queued(id[0], id)
    assert [begin() for _ in range(3)] == ["a-0", "b-0", "a-1"]
    end("a-0")
    end("a-1")
    assert [begin() for _ in range(3)] == ["a-2", "b-1", None]


def test_what_waits_for_its_time_waits_for_the_sweeper_too(service_env: Settings) -> None:
    queued("a", "a-0", delay=-timedelta(seconds=1))
    assert begin() is None
    with transaction() as session:
        assert lifecycle.sweep(session, timedelta(minutes=1), timedelta(minutes=1), 3) == 1
    assert begin() == "a-0"


def test_workers_at_once_take_different_ones(service_env: Settings) -> None:
    for number in range(4):
        queued("ab"[number % 2], f"{number}")
    assert sorted(filter(None, together(*[begin] * 6))) == ["0", "1", "2", "3"]
