"""The split: stratified, disjoint, and a pure function of rows and spec."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from app.contracts.rows import Row
from app.contracts.spec import SplitSpec
from tests.workers.tiny import make_rows
from workers.training.split import Lineage, split_rows

COUNTS = st.dictionaries(st.sampled_from(["a", "b", "c", "d"]), st.integers(5, 40), min_size=2)
SPECS = st.builds(
    SplitSpec,
    holdout_fraction=st.floats(0.05, 0.5),
    validation_fraction=st.floats(0.05, 0.5),
    refit=st.booleans(),
    seed=st.integers(0, 999),
)


def rows_of(counts: dict[str, int]) -> list[Row]:
    return [Row(f"text {number} of {label}", label) for label, count in counts.items() for number in range(count)]


@given(counts=COUNTS, spec=SPECS)
def test_each_row_lands_in_one_part_and_each_label_in_all(counts: dict[str, int], spec: SplitSpec) -> None:
    rows = rows_of(counts)
    split = split_rows(rows, [], spec)
    parts = (split.train, split.validation, split.holdout)
    assert Counter(row for part in parts for row in part) == Counter(rows)
    assert split.labels == sorted(counts)
    for part in parts:
        assert {row.label for row in part} == set(counts)
    held = Counter(row.label for row in split.holdout)
    for label, count in counts.items():
        assert abs(held[label] - count * spec.holdout_fraction) <= 1  # stratified


@given(counts=COUNTS, spec=SPECS)
def test_the_same_rows_and_spec_give_the_same_split(counts: dict[str, int], spec: SplitSpec) -> None:
    assert split_rows(rows_of(counts), [], spec) == split_rows(rows_of(counts), [], spec)


@given(counts=COUNTS, spec=SPECS)
def test_own_test_rows_are_the_holdout_untouched(counts: dict[str, int], spec: SplitSpec) -> None:
    rows, test = rows_of(counts), [Row("held b", "b"), Row("held a", "a"), Row("held a", "a")]
    split = split_rows(rows, test, spec)
    assert split.holdout == test
    assert Counter(split.train + split.validation) == Counter(rows)
    assert split.lineages == [Lineage.MEASURED]  # whatever the spec says: they are never learned from


@given(counts=COUNTS, spec=SPECS)
def test_the_measured_lineage_learns_from_all_rows_but_the_holdout_and_the_published_from_all(
    counts: dict[str, int], spec: SplitSpec
) -> None:
    rows = rows_of(counts)
    split = split_rows(rows, [], spec)
    assert split.lineages == ([Lineage.MEASURED, Lineage.PUBLISHED] if spec.refit else [Lineage.MEASURED])
    measured = split.seed_rows(Lineage.MEASURED)
    assert not set(measured) & set(split.holdout)
    assert Counter(measured + split.holdout) == Counter(rows)
    assert Counter(split.seed_rows(Lineage.PUBLISHED)) == Counter(rows)


def test_a_job_makes_both_lineages_unless_told_otherwise() -> None:
    assert split_rows(make_rows(5), [], SplitSpec()).refit
    assert not split_rows(make_rows(5), [], SplitSpec(refit=False)).refit


def test_another_seed_gives_another_split() -> None:
    rows = make_rows(30)
    assert set(split_rows(rows, [], SplitSpec(seed=1)).holdout) != set(split_rows(rows, [], SplitSpec(seed=2)).holdout)


def test_it_leaves_its_arguments_alone() -> None:
    rows, test = make_rows(10), make_rows(3, seed=9)
    before = [*rows], [*test]
    split_rows(rows, test, SplitSpec())
    assert (rows, test) == before


def test_targets_are_places_among_the_sorted_labels() -> None:
    split = split_rows(rows_of({"b": 5, "a": 5, "c": 5}), [], SplitSpec())
    assert split.targets([Row("x", "c"), Row("y", "a")]) == [2, 0]
