"""PSI and total variation, beside values worked out by hand and samples drawn with known odds."""

from math import log

import numpy as np
import pytest

from app.students.divergence import divergence


def test_by_hand() -> None:
    """PSI with half a count added to each: p = (50.5, 50.5) / 101, q = (80.5, 20.5) / 101."""
    found = divergence([50, 50], [80, 20])
    p, q = (0.5, 0.5), (80.5 / 101, 20.5 / 101)
    assert found.psi == pytest.approx((p[0] - q[0]) * log(p[0] / q[0]) + (p[1] - q[1]) * log(p[1] / q[1]))
    assert found.psi == pytest.approx(0.4063, abs=1e-4)
    assert found.total_variation == pytest.approx(0.3)
    assert found.p_value == 1 / 500


def test_equal_shares_are_no_distance_apart() -> None:
    found = divergence([400, 300, 300], [400, 300, 300])
    assert (found.psi, found.total_variation, found.p_value) == (0, 0, 1)


def test_a_category_that_neither_has_counts_for_nothing() -> None:
    assert divergence([30, 0, 70], [60, 0, 40]) == divergence([30, 70], [60, 40])


def test_nothing_in_common() -> None:
    found = divergence([200, 0], [0, 200])
    assert found.total_variation == 1
    assert found.psi > 5
    assert found.p_value == 1 / 500


def test_one_category_is_always_the_same() -> None:
    found = divergence([80], [5000])
    assert (found.psi, found.by_chance, found.p_value, found.total_variation) == (0, 0, 1, 0)


def test_chance_is_about_what_theory_says_where_counts_are_large() -> None:
    """(K - 1) (1/m + 1/n)."""
    found = divergence([1000] * 10, [500] * 10)
    assert found.by_chance == pytest.approx(9 * (1 / 10_000 + 1 / 5_000), rel=0.15)


@pytest.mark.parametrize(("rows", "texts"), [(80, 100), (80, 100_000), (400, 400)])
def test_samples_of_one_kind_are_seldom_told_apart(rows: int, texts: int) -> None:
    """77 classes, some of them rare, so that PSI alone would call all of these pairs drifted or nearly so."""
    rng = np.random.default_rng(3)
    shares = rng.dirichlet(np.ones(77))
    alarms, psis = 0, []
    for _ in range(60):
        found = divergence(rng.multinomial(rows, shares).tolist(), rng.multinomial(texts, shares).tolist())
        alarms += found.p_value <= 0.01
        psis.append(found.psi)
    assert alarms <= 4  # 0.6 expected; more than 4 has odds below one in a thousand
    assert np.mean(psis) > 0.1


def test_any_number_of_texts_can_be_compared() -> None:
    found = divergence([50, 50], [8 * 10**11, 2 * 10**11])
    assert found.total_variation == pytest.approx(0.3)
    assert found.p_value == 1 / 500


def test_samples_of_two_kinds_are_told_apart_by_few_rows() -> None:
    rng = np.random.default_rng(5)
    first, second = rng.dirichlet(np.ones(20), 2)
    for _ in range(20):
        found = divergence(rng.multinomial(80, first).tolist(), rng.multinomial(200, second).tolist())
        assert found.p_value <= 0.01
        assert found.psi - found.by_chance > 0.25
