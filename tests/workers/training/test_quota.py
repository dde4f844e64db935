"""What is asked for: balance, the share of each label, and when enough is under way."""

from collections import Counter, deque
from random import Random

import pytest

from workers.training.quota import Quota

LABELS = ["a", "b", "c"]


def run(quota: Quota, slots: int, keeps: dict[str, float], seed: int = 0) -> tuple[Counter[str], int]:
    """Judges in the order of asking, `slots` behind; what was asked for, and how much of it when most slots were empty already."""
    rng, under_way, asked, late = Random(seed), deque[str](), Counter[str](), 0
    while not quota.reached:
        while len(under_way) < slots and (label := quota.next_label()) is not None:
            late += quota.judged > 0 and len(under_way) < slots / 4
            asked[label] += 1
            under_way.append(label)
        if not under_way:
            break
        label = under_way.popleft()
        quota.note(label, rng.random() < keeps[label])
    return asked, late


def test_the_kept_texts_are_balanced_though_one_label_keeps_less() -> None:
    quota = Quota(LABELS, texts=300, limit=900)
    asked, _ = run(quota, slots=20, keeps={"a": 0.9, "b": 0.5, "c": 1.0})
    assert quota.reached
    assert quota.kept.total() == 300
    assert max(quota.kept.values()) - min(quota.kept.values()) <= 20
    assert asked["b"] > 1.5 * asked["a"]


def test_a_label_that_keeps_nothing_does_not_take_the_others_place() -> None:
    quota = Quota(LABELS, texts=60, limit=120)
    asked, _ = run(quota, slots=10, keeps={"a": 0.0, "b": 1.0, "c": 1.0})
    assert asked["a"] <= 40
    assert quota.kept["b"] >= 25
    assert quota.kept["c"] >= 25


def test_the_limit_is_never_passed() -> None:
    quota = Quota(LABELS, texts=50, limit=100)
    asked, _ = run(quota, slots=64, keeps=dict.fromkeys(LABELS, 0.1))
    assert asked.total() == 100 == quota.judged
    assert not quota.reached
    assert quota.next_label() is None


@pytest.mark.parametrize("share", [0.5, 0.9, 1.0])
def test_it_stops_asking_in_time_and_seldom_asks_late(share: float) -> None:
    """Texts asked for in vain cost; asking for one more when few are under way costs more."""
    late = wasted = 0
    for seed in range(50):
        quota = Quota(LABELS, texts=500, limit=5000)
        asked, times = run(quota, slots=128, keeps=dict.fromkeys(LABELS, share), seed=seed)
        assert quota.kept.total() == 500
        late += times
        wasted += asked.total() - quota.judged
    assert late / 50 <= 0.15
    assert wasted / 50 <= 40


def test_what_is_missing_is_asked_for_again() -> None:
    quota = Quota(["a"], texts=2, limit=20)
    asked = [quota.next_label() for _ in range(10)]
    first = asked.index(None)
    assert 2 <= first <= 4
    for _ in range(first):
        quota.note("a", kept=False)
    assert quota.next_label() == "a"
