"""Series stay few, whatever is asked."""

import pytest

from app.config import Serving
from app.contracts.projects import DEFAULT_PROJECT
from app.predictions.admission import Admission
from app.predictions.cache import StudentCache
from app.predictions.runtime import load_student
from app.predictions.schemas import Prediction, Score
from app.predictions.telemetry import MAX_LABELS, MAX_STUDENTS, OTHER, SECONDS, Telemetry
from app.storage import BlobStore


def samples(telemetry: Telemetry, name: str) -> dict[tuple[str, ...], float]:
    return {
        tuple(sample.labels.values()): sample.value for family in telemetry.collect() for sample in family.samples if sample.name == name
    }


def telemetry(storage: BlobStore) -> Telemetry:
    return Telemetry(Admission(Serving()), StudentCache(lambda key: load_student(storage, key), 10**9))


def prediction(label: str) -> Prediction:
    return Prediction(label, 0.9, [Score(label, 0.9)])


def test_students_beyond_the_limit_share_a_series(storage: BlobStore) -> None:
    counted = telemetry(storage)
    for number in range(MAX_STUDENTS + 5):
        counted.answered(DEFAULT_PROJECT, f"s{number}", 1, [prediction("a")], 0.001)
    counted.answered(DEFAULT_PROJECT, "s0", 1, [prediction("a")], 0.001)
    found = samples(counted, "gendistil_predict_texts_total")
    assert len(found) == MAX_STUDENTS + 1
    assert (found["default", "s0", "1"], found[OTHER, OTHER, OTHER]) == (2, 5)


def test_labels_beyond_the_limit_share_a_series(storage: BlobStore) -> None:
    counted = telemetry(storage)
    counted.answered(DEFAULT_PROJECT, "s", 1, [prediction(str(number)) for number in range(MAX_LABELS + 7)], 0.001)
    found = samples(counted, "gendistil_predict_labels_total")
    assert (len(found), found["default", "s", "1", OTHER]) == (MAX_LABELS + 1, 7)


def test_labels_of_students_beyond_the_limit_do_not_pile_up(storage: BlobStore) -> None:
    counted = telemetry(storage)
    for number in range(MAX_STUDENTS):
        counted.answered(DEFAULT_PROJECT, f"s{number}", 1, [], 0.001)
    for number in range(3):
        counted.answered(DEFAULT_PROJECT, "more", number, [prediction(f"{number}-{label}") for label in range(MAX_LABELS)], 0.001)
    found = samples(counted, "gendistil_predict_labels_total")
    assert (len(found), found[OTHER, OTHER, OTHER, OTHER]) == (MAX_LABELS + 1, 2 * MAX_LABELS)
    assert ("default", "more", 0) not in counted.counts()


def test_all_labels_of_a_student_are_counted_for_the_drift_report(storage: BlobStore) -> None:
    counted = telemetry(storage)
    for _ in range(2):
        counted.answered(DEFAULT_PROJECT, "s", 1, [prediction(str(number)) for number in range(MAX_LABELS + 7)], 0.001, 500, 3)
    found = counted.counts()["default", "s", 1]
    assert found.labels == {str(number): 2 for number in range(MAX_LABELS + 7)}
    assert (found.texts, found.scores, found.pieces, found.unknown) == (214, [0] * 8 + [214, 0], 1000, 6)


def test_buckets_hold_what_is_not_above_their_bound(storage: BlobStore) -> None:
    counted = telemetry(storage)
    for seconds in (SECONDS[0], SECONDS[0] * 1.01, 99.0):
        counted.answered(DEFAULT_PROJECT, "s", 1, [], seconds)
    found = samples(counted, "gendistil_predict_seconds_bucket")
    assert [found["default", "s", "1", str(bound)] for bound in SECONDS] == [1.0] + [2.0] * (len(SECONDS) - 1)
    assert found["default", "s", "1", "+Inf"] == 3
    assert samples(counted, "gendistil_predict_seconds_sum")["default", "s", "1"] == pytest.approx(99 + 2.01 * SECONDS[0])
