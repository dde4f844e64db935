"""A shadow beside the version that answers: real students, a real database."""

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from prometheus_client import CollectorRegistry
from starlette.testclient import TestClient

from app.predictions.runtime import load_student
from app.storage import get_storage
from app.students import shadow_stats
from app.students.shadow_stats import ShadowScorer
from tests.app.calls import refused
from tests.app.predictions.conftest import VOTES, Publish, onnx_model

TEXTS = ["card", "money", "pin", "card card"]


@dataclass(frozen=True)
class Label:
    label: str


ANSWERS = [Label("card"), Label("money"), Label("pin"), Label("card")]


def score(key: str, texts: list[str]) -> list[str]:
    student = load_student(get_storage(), key)
    return [student.manifest.labels[index] for index in student.probabilities(texts).argmax(1)]


@pytest.fixture
def api(client: TestClient, publish: Publish) -> TestClient:
    """`triage:2` takes money for a card; `triage:3` cannot be loaded."""
    wrong = VOTES.copy()
    wrong[3] = VOTES[2]
    for model in (None, onnx_model(np.ascontiguousarray(wrong)), b"no model"):
        publish("triage", model)
    return client


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., ShadowScorer]]:
    """A scorer at work, which exchanges figures with the database without pause."""
    monkeypatch.setattr(shadow_stats, "EXCHANGE_SECONDS", 0.02)
    made: list[ShadowScorer] = []

    def start(scored: Callable[[str, list[str]], list[str]] = score) -> ShadowScorer:
        scorer = ShadowScorer(scored)
        made.append(scorer)
        scorer.start()
        return scorer

    yield start
    for scorer in made:
        scorer.stop()


def shadow(api: TestClient) -> dict[str, Any]:
    found: dict[str, Any] = api.get("/students/triage/shadow").json()
    return found


def figures_when(api: TestClient, wanted: Callable[[dict[str, Any]], bool], act: Callable[[], None] = lambda: None) -> dict[str, Any]:
    deadline = time.monotonic() + 30
    while not wanted(found := shadow(api)):
        assert time.monotonic() < deadline, found
        act()
        time.sleep(0.02)
    return found


def counting(api: TestClient, started: Callable[..., ShadowScorer]) -> tuple[ShadowScorer, dict[str, Any]]:
    """A scorer that knows of the shadow, as its first figures tell, and all figures up to now."""
    scorer = started()
    figures_when(api, lambda found: found["texts"] > 0, lambda: scorer.observe(("default", "triage"), 1, TEXTS, ANSWERS, 0.004))
    scorer.stop()
    before = shadow(api)
    scorer.start()
    return scorer, before


def test_a_shadow_is_set_read_and_removed(api: TestClient) -> None:
    refused(api.get("/students/triage/shadow"), 404, "shadow-not-found")
    made = api.put("/students/triage/shadow", json={"version": 2, "share": 0.5}).json()
    assert (made["version"], made["share"], made["texts"], made["agreement"]) == (2, 0.5, 0, None)
    assert shadow(api) == made
    assert api.put("/students/triage/shadow", json={"version": 2, "share": 1}).json()["since"] == made["since"]
    assert api.put("/students/triage/shadow", json={"version": 1}).json()["since"] > made["since"]
    assert api.delete("/students/triage/shadow").status_code == 204
    refused(api.delete("/students/triage/shadow"), 404, "shadow-not-found")


@pytest.mark.parametrize(
    "body", [{"version": 0}, {"version": 1, "share": 0}, {"version": 1, "share": 1.1}, {}, {"version": 1, "colour": 1}]
)
def test_what_cannot_be_a_shadow(api: TestClient, body: dict[str, Any]) -> None:
    refused(api.put("/students/triage/shadow", json=body), 422, "invalid-request")


@pytest.mark.parametrize("name", ["nobody", "%00", "Triage"])
def test_an_unknown_student_has_no_shadow(api: TestClient, name: str) -> None:
    for answer in (api.get(f"/students/{name}/shadow"), api.put(f"/students/{name}/shadow", json={"version": 1})):
        refused(answer, 404, "student-not-found")
    assert "triage:1" in api.put("/students/triage/shadow", json={"version": 9}).json()["remedy"]


def test_a_deleted_version_shadows_no_more(api: TestClient) -> None:
    api.put("/students/triage/shadow", json={"version": 2})
    assert api.delete("/students/triage/versions/2").status_code == 204
    refused(api.get("/students/triage/shadow"), 404, "shadow-not-found")


def test_agreement_and_times_are_counted(api: TestClient, started: Callable[..., ShadowScorer]) -> None:
    api.put("/students/triage/shadow", json={"version": 2, "share": 1})
    scorer = started()
    found = figures_when(api, lambda found: found["texts"] > 0, lambda: scorer.observe(("default", "triage"), 1, TEXTS, ANSWERS, 0.004))
    scorer.stop()
    found = shadow(api)
    assert found["texts"] % 4 == 0
    assert found["agreement"] == 0.75
    assert found["milliseconds"] == pytest.approx(1.0)
    assert found["shadow_milliseconds"] > 0
    assert (found["dropped"], found["failed"]) == (0, 0)
    registry = CollectorRegistry()
    registry.register(scorer.counter)
    labels = {"project": "default", "student": "triage", "version": "2"}
    assert registry.get_sample_value("gendistil_shadow_texts_total", {**labels, "outcome": "agreed"}) == found["agreed"]
    assert registry.get_sample_value("gendistil_shadow_texts_total", {**labels, "outcome": "differed"}) == found["texts"] / 4


def test_a_shadow_that_cannot_be_scored_is_told_and_ends_nothing(api: TestClient, started: Callable[..., ShadowScorer]) -> None:
    api.put("/students/triage/shadow", json={"version": 3, "share": 1})
    scorer = started()
    figures_when(api, lambda found: found["failed"] > 0, lambda: scorer.observe(("default", "triage"), 1, TEXTS, ANSWERS, 0.004))
    api.put("/students/triage/shadow", json={"version": 2, "share": 1})
    figures_when(api, lambda found: found["texts"] > 0, lambda: scorer.observe(("default", "triage"), 1, TEXTS, ANSWERS, 0.004))


def test_answers_do_not_wait_for_a_slow_shadow(
    api: TestClient, started: Callable[..., ShadowScorer], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shadow_stats, "WAITING_REQUESTS", 2)
    go_on, busy = threading.Event(), threading.Event()

    def held(key: str, texts: list[str]) -> list[str]:
        busy.set()
        assert go_on.wait(30)
        return score(key, texts)

    api.put("/students/triage/shadow", json={"version": 2, "share": 1})
    scorer = started(held)
    while not busy.is_set():
        scorer.observe(("default", "triage"), 1, TEXTS, ANSWERS, 0.004)
    for _ in range(50):  # as the shadow stands still, this would never end if one of them waited
        scorer.observe(("default", "triage"), 1, TEXTS, ANSWERS, 0.004)
    go_on.set()
    found = figures_when(api, lambda found: found["dropped"] >= 4 * 48)
    assert found["dropped"] % 4 == 0


def test_its_own_answers_and_other_names_are_not_compared(api: TestClient, started: Callable[..., ShadowScorer]) -> None:
    api.put("/students/triage/shadow", json={"version": 2, "share": 1})
    scorer, before = counting(api, started)
    scorer.observe(("default", "triage"), 2, TEXTS, ANSWERS, 0.004)
    scorer.observe(("default", "spam"), 1, TEXTS, ANSWERS, 0.004)
    scorer.observe(("default", "triage"), 1, TEXTS[:1], ANSWERS[:1], 0.001)
    found = figures_when(api, lambda found: found["texts"] > before["texts"])
    assert found["texts"] == before["texts"] + 1


def test_a_share_of_the_texts_is_scored(api: TestClient, started: Callable[..., ShadowScorer]) -> None:
    api.put("/students/triage/shadow", json={"version": 2, "share": 0.2})
    scorer, before = counting(api, started)
    scorer.observe(("default", "triage"), 1, TEXTS * 250, ANSWERS * 250, 1.0)
    found = figures_when(api, lambda found: found["texts"] + found["dropped"] > before["texts"] + before["dropped"])
    seen = found["texts"] + found["dropped"] - before["texts"] - before["dropped"]
    assert 100 < seen < 320  # 200 of 1,000 expected; eight standard deviations
    assert found["texts"] - before["texts"] <= shadow_stats.REQUEST_TEXTS


def test_live_predictions_are_compared(api: TestClient) -> None:
    api.put("/students/triage/aliases/latest", json={"version": 1})
    api.put("/students/triage/shadow", json={"version": 2, "share": 1})

    def ask() -> None:
        answer = api.post("/predict", json={"student": "triage", "inputs": TEXTS}).json()
        assert (answer["version"], [found["label"] for found in answer["predictions"]]) == (1, [found.label for found in ANSWERS])

    began = time.monotonic()
    found = figures_when(api, lambda found: found["texts"] > 0, ask)
    assert found["agreement"] == 0.75
    assert 0 < found["milliseconds"] < 1000 * (time.monotonic() - began)
    assert 'gendistil_shadow_texts_total{outcome="agreed",project="default",student="triage",version="2"}' in api.get("/metrics").text
