"""Abstention and the out-of-scope score, over HTTP with tiny real students."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from starlette.testclient import TestClient

from app.contracts.students import SelectivePoint
from app.predictions.scope import out_of_scope
from app.predictions.service import ranked
from tests.app.calls import refused
from tests.app.predictions.test_predict_routes import predict

Publish = Callable[..., int]

POINTS = [
    SelectivePoint(precision=0.8, threshold=0.0, coverage=1.0, holdout_precision=0.82),
    SelectivePoint(precision=0.95, threshold=0.97, coverage=0.6, holdout_precision=0.96),
]
# Votes of 4 and 8 for one label of three: scores of 0.965 and 0.999.
TEXTS = ["card", "card card", "what"]


@pytest.fixture
def triage(publish: Publish) -> int:
    return publish(changes={"selective": POINTS})


def answers(client: TestClient, **changes: Any) -> Any:
    answer = predict(client, inputs=TEXTS, **changes)
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_nothing_abstains_unless_it_is_asked_to(client: TestClient, triage: int) -> None:
    body = answers(client)
    assert body["threshold"] is None
    assert [found["abstained"] for found in body["predictions"]] == [False, False, False]


@pytest.mark.parametrize("top_k", [1, 3])
def test_a_score_below_the_threshold_abstains_and_is_told(client: TestClient, triage: int, top_k: int) -> None:
    body = answers(client, min_score=0.9, top_k=top_k)
    assert body["threshold"] == 0.9
    assert [found["abstained"] for found in body["predictions"]] == [False, False, True]
    unsure = body["predictions"][2]
    assert unsure["score"] == pytest.approx(1 / 3)
    assert len(unsure["scores"]) == top_k


def test_the_threshold_itself_is_answered(client: TestClient, triage: int) -> None:
    score = answers(client)["predictions"][0]["score"]
    assert not answers(client, min_score=score)["predictions"][0]["abstained"]


@pytest.mark.parametrize(("precision", "threshold", "abstained"), [(0.8, 0.0, [0, 0, 0]), (0.95, 0.97, [1, 0, 1]), (0.81, 0.97, [1, 0, 1])])
def test_a_precision_gets_its_own_threshold_or_the_next_higher(
    client: TestClient, triage: int, precision: float, threshold: float, abstained: list[int]
) -> None:
    body = answers(client, min_precision=precision)
    assert body["threshold"] == threshold
    assert [found["abstained"] for found in body["predictions"]] == [bool(answer) for answer in abstained]


def test_a_precision_without_a_threshold_is_refused_with_those_there_are(client: TestClient, triage: int, publish: Publish) -> None:
    problem = refused(predict(client, min_precision=0.99), 422, "no-threshold")
    assert "0.8, 0.95" in problem["detail"]
    assert problem["errors"][0]["column"] == "min_precision"
    publish(name="older")
    assert "no thresholds" in refused(predict(client, student="older", min_precision=0.8), 422, "no-threshold")["detail"]


def test_one_threshold_is_enough(client: TestClient, triage: int) -> None:
    problem = refused(predict(client, min_precision=0.8, min_score=0.5), 422, "invalid-request")
    assert "min_score" in problem["detail"]


@pytest.mark.parametrize(
    "changes", [{"min_score": 1.1}, {"min_score": -0.1}, {"min_precision": 2}, {"min_score": "high"}, {"out_of_scope": 7}]
)
def test_values_out_of_range(client: TestClient, triage: int, changes: dict[str, Any]) -> None:
    (column,) = changes
    assert [error["column"] for error in refused(predict(client, **changes), 422, "invalid-request")["errors"]] == [column]


@pytest.mark.parametrize("top_k", [1, 2])
def test_how_far_out_of_scope_a_text_is(client: TestClient, triage: int, top_k: int) -> None:
    assert [found["out_of_scope"] for found in answers(client, top_k=top_k)["predictions"]] == [None, None, None]
    near, nearer, strange = (found["out_of_scope"] for found in answers(client, out_of_scope=True, top_k=top_k)["predictions"])
    assert 0 <= nearer < near < strange
    assert strange == pytest.approx(1)


def test_the_scope_score_does_not_depend_on_the_temperature_of_the_scores() -> None:
    logits = np.array([[9.0, 1.0, 0.0], [3.0, 2.0, 2.0], [900.0, 0.0, 0.0]])

    def probabilities(temperature: float) -> np.ndarray:
        exponentials = np.exp((logits - logits.max(1, keepdims=True)) / temperature)
        return np.asarray(exponentials / exponentials.sum(1, keepdims=True))

    assert out_of_scope(probabilities(1.0), 1.0) == pytest.approx(out_of_scope(probabilities(2.5), 2.5), abs=1e-9)
    quarter = probabilities(4.0)[1]
    assert out_of_scope(probabilities(1.0), 1.0)[1] == pytest.approx(-(quarter * np.log(quarter)).sum() / np.log(3))


def test_one_text_is_ranked_as_it_is_among_others() -> None:
    probabilities = np.random.default_rng(0).dirichlet(np.ones(5), 200)
    probabilities[::7, 1:3] = probabilities[::7].max(axis=1, keepdims=True)  # of equal ones the first
    labels = [f"label {number}" for number in range(5)]
    alone = [ranked(probabilities[row : row + 1], labels, 1, 0.5, [0.25])[0] for row in range(200)]
    assert alone == ranked(probabilities, labels, 1, 0.5, [0.25] * 200)
