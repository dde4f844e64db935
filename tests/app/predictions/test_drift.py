"""From a prediction to the drift report: what is counted, and what the database is told of it."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError
from starlette.testclient import TestClient

from app.config import Settings
from app.contracts.profile import Profile, pack_ids
from app.database import transaction
from app.predictions import traffic
from app.predictions.telemetry import Counts, Key
from app.predictions.traffic import TrafficLog
from app.students.drift import KEPT_DAYS
from app.tables import Traffic
from tests.app.predictions.conftest import MAX_TOKENS, Publish
from tests.waiting import wait_for

NOON = datetime(2026, 3, 4, 12, tzinfo=UTC)
UNKNOWN = [1]
# 40 rows of each label, all of them one known word: the score is then e^4 / (e^4 + 2), 0.96.
PROFILE = Profile(rows=120, labels={"card": 40, "money": 40, "pin": 40}, scores=[0] * 9 + [120], pieces=120, unknown=0)


@pytest.fixture
def api(service_env: Settings, publish: Publish, monkeypatch: pytest.MonkeyPatch, client: TestClient) -> TestClient:
    publish(changes={"profile": PROFILE, "unknown_pieces": pack_ids(UNKNOWN)})
    return client


@pytest.fixture(autouse=True)
def _told_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(traffic, "EXCHANGE_SECONDS", 0.02)


def ask(api: TestClient, texts: list[str]) -> None:
    assert api.post("/predict", json={"student": "triage", "inputs": texts}).status_code == 200


def report_of(api: TestClient, texts: int) -> dict[str, Any]:
    """The report once so many texts are counted."""

    def found() -> dict[str, Any] | None:
        report: dict[str, Any] = api.get("/students/triage/versions/1/drift").json()
        return report if report["texts"] >= texts else None

    report = wait_for(found, what=f"{texts} texts were told of")
    assert report is not None
    assert report["texts"] == texts
    return report


def test_live_texts_like_the_holdouts_are_stable(api: TestClient) -> None:
    for _ in range(4):
        ask(api, ["card", "money", "pin"] * 30)
    found = report_of(api, 360)
    assert (found["status"], found["unknown_pieces"]["live"], found["pieces_per_text"]) == ("stable", 0, 1)
    assert found["scores"]["live"]["0.9-1"] == 1


def test_live_texts_of_another_kind_have_drifted(api: TestClient) -> None:
    """Of four words that are read, three are unknown: these vote for no label, but single texts, lists and parts of lists count alike."""
    for _ in range(20):
        ask(api, ["hello strange pin world"])
    ask(api, ["card"])
    ask(api, ["entirely strange"] * 400)
    found = report_of(api, 421)
    assert (found["status"], found["labels"]["reading"], found["scores"]["reading"]) == ("drifted", "drifted", "drifted")
    assert found["labels"]["live"] == {"card": 401 / 421, "money": 0, "pin": 20 / 421}
    assert found["scores"]["live"]["0.3-0.4"] == 400 / 421
    assert found["unknown_pieces"] == {"reading": "drifted", "live": 860 / 881, "holdout": 0, "ratio": None}


def test_pieces_beyond_the_cut_are_not_counted(api: TestClient) -> None:
    ask(api, ["card " * MAX_TOKENS + "strange " * 50, "money"])
    assert report_of(api, 2)["pieces_per_text"] == (MAX_TOKENS + 1) / 2
    figures = api.get("/metrics").text
    labels = 'project="default",student="triage",version="1"'
    assert f"gendistil_predict_pieces_total{{{labels}}} {MAX_TOKENS + 1}.0" in figures
    assert f"gendistil_predict_unknown_pieces_total{{{labels}}} 0.0" in figures
    assert f'gendistil_predict_score_bucket{{le="0.9",{labels}}} 0.0' in figures
    assert f'gendistil_predict_score_bucket{{le="1",{labels}}} 2.0' in figures


@pytest.fixture
def log(service_env: Settings) -> tuple[TrafficLog, Callable[[int], None]]:
    """A log on a service's database, and what sets the number of texts that the process has answered."""
    counted: dict[Key, Counts] = {}

    def count(texts: int) -> None:
        counted["default", "triage", 1] = Counts(texts, {"card": texts}, [0] * 9 + [texts], 2 * texts, texts // 2)

    return TrafficLog(lambda: dict(counted)), count


def rows() -> list[tuple[int, int, int]]:
    """Day of the month, texts and unknown pieces."""
    with transaction() as session:
        found = session.query(Traffic).order_by(Traffic.day).all()
        assert all(row.labels == {"card": row.texts} and row.scores[-1] == row.texts and row.pieces == 2 * row.texts for row in found)
        return [(row.day.day, row.texts, row.unknown) for row in found]


def test_a_day_has_one_row_that_is_written_over(log: tuple[TrafficLog, Callable[[int], None]]) -> None:
    told, count = log
    told.tell(NOON)
    assert rows() == []
    for texts in (10, 10, 30):
        count(texts)
        told.tell(NOON)
    assert rows() == [(4, 30, 15)]


def test_the_next_day_begins_anew(log: tuple[TrafficLog, Callable[[int], None]]) -> None:
    told, count = log
    for texts, hours in ((10, 0), (16, 11), (20, 13), (50, 14)):
        count(texts)
        told.tell(NOON + timedelta(hours=hours))
    assert rows() == [(4, 16, 8), (5, 34, 17)]


def test_old_days_go(log: tuple[TrafficLog, Callable[[int], None]]) -> None:
    told, count = log
    for texts, days in ((10, 0), (20, KEPT_DAYS), (30, KEPT_DAYS + 1)):
        count(texts)
        told.tell(NOON + timedelta(days=days))
    assert [texts for _, texts, _ in rows()] == [10, 10]


def test_what_cannot_be_told_is_told_later(log: tuple[TrafficLog, Callable[[int], None]]) -> None:
    told, count = log
    count(10)
    told.tell(NOON)
    count(15)
    with transaction() as session:
        session.execute(text("ALTER TABLE traffic RENAME TO away"))
    with pytest.raises(SQLAlchemyError):
        told.tell(NOON + timedelta(days=1))
    with transaction() as session:
        session.execute(text("ALTER TABLE away RENAME TO traffic"))
    told.tell(NOON + timedelta(days=1))
    assert rows() == [(4, 10, 5), (5, 5, 2)]


def test_the_end_of_a_process_loses_nothing(log: tuple[TrafficLog, Callable[[int], None]], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(traffic, "EXCHANGE_SECONDS", 3600)
    told, count = log
    told.start()
    count(10)
    told.stop()
    assert [texts for _, texts, _ in rows()] == [10]
