"""Store, table and check: what becomes of figures once they are there."""

from pathlib import Path

import pytest

from app.contracts.rows import Row
from benchmarks.quality.check import verdict
from benchmarks.quality.outcome import scores
from benchmarks.quality.store import Origin, Results, read_results, record, this_origin
from benchmarks.quality.table import render
from tests.benchmarks.conftest import MakeEntry

ORIGIN = Origin(settings=["--setfit-steps", "500"], cores=2, processor="x86_64", python="3.11", packages={"torch": "2.13.0"})


def cells(table: str, below: str, row: str) -> list[str]:
    """The cells of the first row that begins with `row` below the first place that says `below`."""
    lines = table[table.index(below) :].split("\n")
    line = next(line for line in lines if line.startswith(f"| {row} |"))
    return [cell.strip() for cell in line.strip("|").split("|")][1:]


def filled(make_entry: MakeEntry) -> Results:
    results = Results()
    accuracies = {
        "fast/teacher": (0.90, 0.92),
        "fast/cnn": (0.86, 0.88),
        "fast/no_generation": (0.82, 0.84),
        "fast/ceiling": (0.87, 0.89),
        "tfidf": (0.70, 0.74),
    }
    for method, values in accuracies.items():
        for seed, accuracy in enumerate(values):
            notes = {"kind": "cnn", "real_texts": 50, "generated_texts": 60} if method == "fast/ceiling" else {}
            results.put(make_entry(method, accuracy, seed=seed, notes=notes), ORIGIN)
    return results


def test_scores_count_a_class_that_no_answer_names_and_not_one_that_no_row_has() -> None:
    test = [Row("", "a"), Row("", "a"), Row("", "b"), Row("", "b")]
    accuracy, macro_f1 = scores(["a", "a", "a", "c"], test)
    assert accuracy == 0.5
    assert macro_f1 == pytest.approx((2 * 2 / (2 * 2 + 1) + 0) / 2)  # F1 of a: precision 2/3, recall 1; of b: 0; c is not there
    with pytest.raises(ValueError, match="1 answers to 4 test rows"):
        scores(["a"], test)


def test_an_entry_takes_the_place_of_the_old_one_and_survives_the_disk(make_entry: MakeEntry, tmp_path: Path) -> None:
    path, other = tmp_path / "results" / "quality.json", this_origin(["--test-limit", "9"])
    record(path, make_entry("tfidf", 0.7), ORIGIN)
    record(path, make_entry("tfidf", 0.7, seed=1), ORIGIN)
    results = record(path, make_entry("tfidf", 0.8, fingerprint="g"), other)
    again = read_results(path)
    assert again == results
    assert [(entry.seed, entry.accuracy) for entry in again.entries] == [(0, 0.8), (1, 0.7)]
    assert list(again.origins.values()) == [ORIGIN, other]
    assert again.has("cards", 0, "tfidf", "g")
    assert not again.has("cards", 0, "tfidf", "f")
    assert not again.has("cards", 2, "tfidf", "f")
    results.put(make_entry("tfidf", 0.9, seed=1), other)
    assert list(results.origins.values()) == [other]
    assert [file.name for file in path.parent.iterdir()] == ["quality.json"]


def test_a_set_has_mean_and_spread_of_its_methods_ours_first(make_entry: MakeEntry) -> None:
    table = render(filled(make_entry))
    assert cells(table, "## cards", "fast/cnn") == ["87.0 ± 1.4", "86.0 ± 1.4", "1,000", "4,000", "12", "5,000"]
    part = table[table.index("## cards") :]
    order = [part.index(f"| {method} |") for method in ("fast/teacher", "fast/cnn", "fast/no_generation", "fast/ceiling", "tfidf")]
    assert order == sorted(order)
    assert "3 classes, 36 rows, 400 test rows; 2 seed(s), rows drawn anew for each seed." in part
    assert "`fast/ceiling`: the set has only 50 real texts besides the sample, 60 were generated." in part


def test_the_summary_divides_student_by_teacher_and_generated_by_real(make_entry: MakeEntry) -> None:
    results = filled(make_entry)
    table = render(results)
    assert cells(table, "## Summary", "fast/teacher") == ["91.0", "91.0", "90.0"]
    # cnn over teacher; (generated - without) / (real - without) = (87 - 83) / (88 - 83)
    assert cells(table, "Preset `fast`", "cards") == [f"{87 / 91:.3f}", "0.800"]
    results.put(make_entry("fast/teacher", 0.8, set="letters"), ORIGIN)
    results.put(make_entry("fast/cnn", 0.8, set="letters"), ORIGIN)
    table = render(results)
    assert cells(table, "## Summary", "fast/teacher") == ["91.0", "80.0", "85.5", "84.5"]
    assert cells(table, "## Summary", "tfidf") == ["72.0", "-", "72.0 (1 sets)", "71.0"]
    assert cells(table, "## Summary", "lowest") == [f"{87 / 91:.3f}", "0.800"]
    assert cells(table, "Preset `fast`", "letters") == ["1.000", "-"]


def test_a_ceiling_that_is_no_higher_leaves_the_worth_of_texts_untold(make_entry: MakeEntry) -> None:
    results = Results()
    for method, accuracy in {"fast/cnn": 0.85, "fast/no_generation": 0.84, "fast/ceiling": 0.842, "fast/teacher": 0.9}.items():
        results.put(make_entry(method, accuracy, notes={"kind": "cnn"}), ORIGIN)
    assert cells(render(results), "## Summary", "lowest") == [f"{0.85 / 0.9:.3f}", "-"]


def test_the_table_names_a_command_that_makes_all_of_it(make_entry: MakeEntry) -> None:
    results = filled(make_entry)
    results.put(make_entry("setfit", 0.8, set="letters", seed=2, notes={"settings": {"steps at most": 500}}), ORIGIN)
    table = render(results)
    command = "--sets cards,letters --seeds 3 --presets fast --methods teacher,cnn,no_generation,ceiling,setfit,tfidf --setfit-steps 500"
    assert f"`python -m benchmarks.quality {command}`" in table
    assert "on 2 cores (x86_64), Python 3.11; torch 2.13.0." in table
    assert "- `setfit`: SetFit on the same encoder, its defaults; steps at most 500." in table


def test_a_part_of_the_test_rows_and_missing_seeds_are_stated(make_entry: MakeEntry) -> None:
    results = Results()
    results.put(make_entry("tfidf", 0.7, test_rows=100, redrawn=False), ORIGIN)
    results.put(make_entry("tfidf", 0.7, test_rows=100, seed=1, redrawn=False), ORIGIN)
    results.put(make_entry("setfit", 0.8, test_rows=100, redrawn=False, train_seconds=None), ORIGIN)
    table = render(results)
    assert "a random 100 of 400 test rows; 2 seed(s), the same rows for every seed." in table
    assert cells(table, "## cards", "setfit (1 of 2 seeds)")[4] == "-"


@pytest.mark.parametrize(("accuracy", "within"), [(0.72, True), (0.7765, True), (0.777, False), (0.663, False)])
def test_a_figure_run_again_is_held_against_two_standard_deviations(make_entry: MakeEntry, accuracy: float, within: bool) -> None:
    results = filled(make_entry)  # 72.0 ± 2.83 over two seeds
    answer = verdict(results, make_entry("tfidf", accuracy))
    assert answer.within is within
    assert "70.00 on record for this seed; on record 72.00 ± 2.83 over 2 seed(s)" in answer.message


def test_without_a_spread_the_standard_error_of_the_test_rows_decides(make_entry: MakeEntry) -> None:
    results = Results()
    results.put(make_entry("tfidf", 0.5), ORIGIN)  # 400 rows: 2.5 points
    assert verdict(results, make_entry("tfidf", 0.524)).within
    assert not verdict(results, make_entry("tfidf", 0.526)).within
    assert "not those on record" in verdict(results, make_entry("tfidf", 0.5, fingerprint="g")).message
    with pytest.raises(LookupError, match="Nothing is on record for setfit on cards"):
        verdict(results, make_entry("setfit", 0.5))
