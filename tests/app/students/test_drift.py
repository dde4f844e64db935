"""The drift report, from rows of traffic in a real database."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from app.database import transaction
from app.main import create_app
from app.students.drift import KEPT_DAYS, LEAST_TEXTS
from app.tables import Traffic, utcnow
from tests.app.calls import refused
from tests.app.students.published import MANIFEST, register

ROWS = 200
PROFILE = {"rows": ROWS, "labels": {"a": 100, "b": 100}, "scores": [0, 0, 0, 0, 20, 20, 20, 20, 40, 80], "pieces": 2000, "unknown": 20}


@pytest.fixture
def api(clean_settings: pytest.MonkeyPatch, tmp_path: Path, redis_url: str, migrated_database_url: str) -> Iterator[TestClient]:
    """`triage:1` with a profile, `triage:2` without one, on SQLite and on PostgreSQL in turn."""
    clean_settings.setenv("GENDISTIL_DATA_DIR", str(tmp_path / "data"))
    clean_settings.setenv("REDIS_URL", redis_url)
    clean_settings.setenv("DATABASE_URL", migrated_database_url)
    for number, manifest in enumerate(({**MANIFEST, "profile": PROFILE}, MANIFEST), start=1):
        register("triage", f"job_{number}", f"key-{number}", manifest, {"a": 5, "b": 5})
    with TestClient(create_app()) as client:
        yield client


def add(times: int, *, at: datetime | None = None, process: str = "p", version: int = 1, **changes: Any) -> None:
    """Traffic as on the holdout, so many times as much, but for `changes`."""
    counts: dict[str, Any] = {**PROFILE, **changes}
    at = at or utcnow()
    row = Traffic(name="triage", version=version, day=at.date(), process=process, since=at, texts=times * ROWS)
    row.labels = {label: times * count for label, count in counts["labels"].items()}
    row.scores = [times * count for count in counts["scores"]]
    row.pieces, row.unknown = times * counts["pieces"], times * counts["unknown"]
    with transaction() as session:
        session.add(row)


def drift(api: TestClient, version: int = 1, days: int | None = None) -> dict[str, Any]:
    answer = api.get(f"/students/triage/versions/{version}/drift", params={} if days is None else {"days": days})
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def test_traffic_like_the_holdout_is_stable(api: TestClient) -> None:
    add(10)
    found = drift(api)
    assert (found["status"], found["texts"], found["holdout_rows"]) == ("stable", 2000, ROWS)
    assert found["verdict"].startswith("Stable: 2,000 texts")
    for part in ("labels", "scores"):
        assert found[part]["psi"] == pytest.approx(0, abs=0.01)
        assert found[part]["total_variation"] == pytest.approx(0)
        assert found[part]["live"] == found[part]["holdout"]
    assert found["labels"]["holdout"] == {"a": 0.5, "b": 0.5}
    assert found["unknown_pieces"] == {"reading": "stable", "live": 0.01, "holdout": 0.01, "ratio": 1.0}
    assert (found["pieces_per_text"], found["holdout_pieces_per_text"]) == (10, 10)


def test_other_labels_are_told_with_the_one_that_grew_most(api: TestClient) -> None:
    add(10, labels={"a": 190, "b": 10})
    found = drift(api)
    assert (found["status"], found["labels"]["reading"], found["scores"]["reading"]) == ("drifted", "drifted", "stable")
    assert found["labels"]["psi"] == pytest.approx(1.32, abs=0.02)  # 0.45 ln(0.95 / 0.5) + -0.45 ln(0.05 / 0.5)
    assert found["labels"]["total_variation"] == pytest.approx(0.45)
    assert "labels are other ones ('a' 95.0%, there 50.0%)" in found["verdict"]
    assert found["verdict"].endswith("Its answers may well be right still.")


def test_half_way_it_is_shifted(api: TestClient) -> None:
    add(10, labels={"a": 140, "b": 60})
    found = drift(api)
    assert (found["status"], found["labels"]["psi"]) == ("shifted", pytest.approx(0.169, abs=0.01))


def test_lower_scores_and_unknown_pieces_are_told(api: TestClient) -> None:
    add(10, scores=[0, 0, 20, 40, 60, 40, 20, 20, 0, 0], unknown=240)
    found = drift(api)
    assert (found["status"], found["scores"]["reading"], found["unknown_pieces"]["reading"]) == ("drifted", "drifted", "drifted")
    assert found["unknown_pieces"]["ratio"] == pytest.approx(12)
    assert "scores are lower (mean 0.48, there 0.79)" in found["verdict"]
    assert "12.0% of pieces are unknown (there 1.0%)" in found["verdict"]
    assert found["verdict"].endswith("Label some of these texts, and make a new version with them.")


@pytest.mark.parametrize(("unknown", "reading"), [(39, "stable"), (60, "shifted"), (119, "shifted"), (121, "drifted")])
def test_unknown_pieces_have_a_margin(api: TestClient, unknown: int, reading: str) -> None:
    add(10, unknown=unknown)
    assert drift(api)["unknown_pieces"]["reading"] == reading


def test_a_label_that_the_holdout_never_got_is_compared_too(api: TestClient) -> None:
    add(10, labels={"a": 50, "b": 50, "c": 100})
    found = drift(api)
    assert found["status"] == "drifted"
    assert found["labels"]["holdout"]["c"] == 0
    assert found["labels"]["live"]["c"] == 0.5


def test_few_texts_tell_nothing(api: TestClient) -> None:
    assert drift(api)["verdict"].startswith("Not enough traffic yet: 0 texts")
    at = utcnow()
    few = LEAST_TEXTS - 1
    with transaction() as session:
        figures = {"texts": few, "labels": {"a": few}, "scores": [few] + [0] * 9, "pieces": few, "unknown": few}
        session.add(Traffic(name="triage", version=1, day=at.date(), process="p", since=at, **figures))
    found = drift(api)
    assert (found["status"], found["texts"], found["labels"], found["scores"], found["unknown_pieces"]) == (
        "too_few",
        few,
        None,
        None,
        None,
    )


def test_a_version_without_a_profile_says_so(api: TestClient) -> None:
    add(10, version=2)
    found = drift(api, version=2)
    assert (found["status"], found["texts"], found["holdout_rows"], found["labels"]) == ("no_reference", 2000, None, None)


def test_processes_and_days_add_up_within_the_window(api: TestClient) -> None:
    now = utcnow()
    add(1, process="p")
    add(2, process="q")
    add(4, at=now - timedelta(days=6))
    add(8, at=now - timedelta(days=7))
    assert [drift(api, days=days)["texts"] for days in (1, 6, 7, 8)] == [600, 600, 1400, 3000]
    assert drift(api)["days"] == 7
    assert datetime.fromisoformat(drift(api)["since"]) == now - timedelta(days=6)


@pytest.mark.parametrize(
    ("path", "status", "type"),
    [
        ("triage/versions/9/drift", 404, "student-not-found"),
        ("nobody/versions/1/drift", 404, "student-not-found"),
        ("%00/versions/1/drift", 404, "student-not-found"),
        ("triage/versions/0/drift", 422, "invalid-request"),
        (f"triage/versions/1/drift?days={KEPT_DAYS + 1}", 422, "invalid-request"),
    ],
)
def test_what_there_is_no_report_of(api: TestClient, path: str, status: int, type: str) -> None:
    refused(api.get(f"/students/{path}"), status, type)


def test_a_deleted_version_leaves_no_counts(api: TestClient) -> None:
    add(1)
    add(1, version=2)
    assert api.delete("/students/triage/versions/2").status_code == 204
    with transaction() as session:
        assert [row.version for row in session.query(Traffic)] == [1]
