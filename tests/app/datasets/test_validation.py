import pytest

from app.config import Limits
from app.contracts.rows import Row
from app.datasets.raw import RawRow
from app.datasets.validation import check_rows
from tests.app.datasets.samples import kind_of, make_rows, refusal, with_rows

LIMITS = Limits()
GERMAN = [
    "Mein Paket ist leider immer noch nicht angekommen, obwohl es letzte Woche verschickt wurde",
    "Können Sie mir bitte sagen, wann die Lieferung bei mir zu Hause eintreffen wird",
    "Die Rechnung stimmt nicht, ich habe nur einen einzigen Artikel bestellt und bezahlt",
    "Warum wurde mein Konto doppelt belastet, ich möchte das Geld sofort zurück haben",
    "Ich habe die falsche Adresse angegeben und möchte sie noch schnell ändern",
    "Wo finde ich in der Anwendung die Übersicht über alle meine letzten Bestellungen",
]


def test_good_rows_pass_without_a_warning() -> None:
    checked = check_rows(make_rows(), [], LIMITS)
    assert (len(checked.rows), checked.test, checked.warnings) == (12, [], [])
    assert checked.label_counts == {"billing": 6, "delivery": 6}
    assert checked.mean_chars == sum(len(row.text) for row in checked.rows) / 12


def test_texts_and_labels_are_stripped_and_newlines_made_plain() -> None:
    rows = with_rows(make_rows(), ("  two\r\nlines\rand\ta tab \n", "delivery"))
    assert check_rows(rows, [], LIMITS).rows[-1] == Row("two\nlines\nand\ta tab", "delivery")


def test_whole_numbers_and_truth_values_are_labels() -> None:
    texts = [str(row.text) for row in make_rows()]
    numbers = [RawRow(number, text, number % 2) for number, text in enumerate(texts, start=1)]
    assert check_rows(numbers, [], LIMITS).label_counts == {"0": 6, "1": 6}
    truths = [RawRow(number, text, number % 2 == 0) for number, text in enumerate(texts, start=1)]
    assert check_rows(truths, [], LIMITS).label_counts == {"false": 6, "true": 6}


@pytest.mark.parametrize(
    ("text", "label", "column", "detail"),
    [
        ("", "delivery", "text", "the text is empty"),
        (" \n\t", "delivery", "text", "the text is empty"),
        ("\u200b\ufeff", "delivery", "text", "the text is empty"),
        (None, "delivery", "text", "the text is missing"),
        (5, "delivery", "text", "the text is a number"),
        (["x"], "delivery", "text", "the text is a list"),
        ("nul \0 inside", "delivery", "text", "control character U+0000"),
        ("bell \a inside", "delivery", "text", "control character U+0007"),
        ("half \ud83d a pair", "delivery", "text", "control character U+D83D"),
        ("x" * 20_001, "delivery", "text", "the limit is 20,000 (setting GENDISTIL_LIMITS__MAX_TEXT_CHARS)"),
        ("x", "  ", "label", "the label is empty"),
        ("x", None, "label", "the label is missing"),
        ("x", 1.5, "label", "the label is a number"),
        ("x", {"a": 1}, "label", "the label is an object"),
        ("x", "two\nlines", "label", "control character U+000A"),
        ("x", "y" * 201, "label", "the limit is 200 (setting GENDISTIL_LIMITS__MAX_LABEL_CHARS)"),
    ],
)
def test_a_row_that_cannot_be_used_is_named(text: object, label: object, column: str, detail: str) -> None:
    problem = refusal(lambda: check_rows(with_rows(make_rows(), (text, label)), [], LIMITS))
    assert (problem.status, kind_of(problem), problem.errors_total) == (422, "invalid-rows", 1)
    (error,) = problem.errors
    assert (error.row, error.column) == (13, column)
    assert detail in error.detail
    assert detail in problem.detail


def test_many_faults_at_once() -> None:
    rows = with_rows(make_rows(), ("", ""), *[("", "delivery")] * 70)
    problem = refusal(lambda: check_rows(rows, with_rows([], ("fine", None)), LIMITS))
    assert problem.errors_total == 73
    assert len(problem.errors) == 50
    assert [(error.row, error.column) for error in problem.errors[:3]] == [(13, "text"), (13, "label"), (14, "text")]


def test_faults_of_test_rows_say_so() -> None:
    problem = refusal(lambda: check_rows(make_rows(), with_rows([], ("", "delivery")), LIMITS))
    assert [(error.row, error.detail) for error in problem.errors] == [(1, "the text is empty (test rows)")]


def test_no_rows() -> None:
    assert kind_of(refusal(lambda: check_rows([], [], LIMITS))) == "empty-file"


def test_one_class() -> None:
    problem = refusal(lambda: check_rows(make_rows(labels=("delivery",)), [], LIMITS))
    assert kind_of(problem) == "too-few-classes"
    assert "'delivery'" in problem.detail


def test_a_class_with_too_few_rows() -> None:
    rows = with_rows(make_rows(), ("where is the refund", "refund"), ("give me the money back", "refund"))
    problem = refusal(lambda: check_rows(rows, [], LIMITS))
    assert kind_of(problem) == "too-few-rows"
    assert "the limit is 5 (setting GENDISTIL_LIMITS__MIN_ROWS_PER_CLASS)" in problem.detail
    (error,) = problem.errors
    assert (error.row, error.column) == (13, "label")
    assert "'refund' has 2 rows (rows 13, 14)" in error.detail
    assert "3 or more" in (error.remedy or "")


def test_duplicates_do_not_count_towards_a_class() -> None:
    rows = with_rows(make_rows(), *[("where is the refund", "refund")] * 6)
    problem = refusal(lambda: check_rows(rows, [], LIMITS))
    assert kind_of(problem) == "too-few-rows"
    assert "'refund' has 1 row left" in problem.errors[0].detail
    assert check_rows(rows, [], Limits(min_rows_per_class=1)).label_counts["refund"] == 1


@pytest.mark.parametrize("other", ["Delivery", "delivery ", " DELIVERY", "de livery", "\uff44elivery"])
def test_labels_that_differ_only_by_case_or_spaces_are_both_named(other: str) -> None:
    problem = refusal(lambda: check_rows(with_rows(make_rows(), ("another text", other)), [], LIMITS))
    assert kind_of(problem) == "similar-labels"
    (error,) = problem.errors
    assert error.row == 13
    assert f"{other!r} differs from 'delivery' (row 1)" in error.detail
    in_test = refusal(lambda: check_rows(make_rows(), with_rows([], ("another text", other)), LIMITS))
    assert kind_of(in_test) == "similar-labels"
    assert f"{other!r} (test rows) differs from 'delivery' (row 1)" in in_test.errors[0].detail


def test_a_label_that_always_has_the_same_space_is_stripped() -> None:
    rows = [RawRow(row.row, row.text, f" {row.label}") for row in make_rows()]
    assert set(check_rows(rows, [], LIMITS).label_counts) == {"billing", "delivery"}


def test_more_rows_and_classes_than_the_limits() -> None:
    problem = refusal(lambda: check_rows(make_rows(), [], Limits(max_rows=11)))
    assert kind_of(problem) == "too-many-rows"
    assert "12 rows; the limit is 11 (setting GENDISTIL_LIMITS__MAX_ROWS)" in problem.detail
    assert kind_of(refusal(lambda: check_rows(make_rows(), make_rows(per_class=7), Limits(max_rows=13)))) == "too-many-rows"
    problem = refusal(lambda: check_rows(make_rows(labels=("a", "b", "c")), [], Limits(max_classes=2)))
    assert kind_of(problem) == "too-many-classes"
    assert "3 classes; the limit is 2 (setting GENDISTIL_LIMITS__MAX_CLASSES)" in problem.detail


def test_a_test_label_that_training_does_not_know() -> None:
    test = with_rows([], ("an unseen text", "delivery"), ("another", "refund"), ("a third", "refund"))
    problem = refusal(lambda: check_rows(make_rows(), test, LIMITS))
    assert kind_of(problem) == "unknown-test-label"
    assert [error.row for error in problem.errors] == [2, 3]
    assert "'refund'" in problem.errors[0].detail


def test_a_class_of_few_test_rows_is_fine() -> None:
    checked = check_rows(make_rows(), with_rows([], ("an unseen text", "delivery")), LIMITS)
    assert checked.test == [Row("an unseen text", "delivery")]
    assert checked.warnings == []


def test_duplicates_are_dropped_with_a_warning() -> None:
    rows = make_rows()
    checked = check_rows([*rows, RawRow(13, rows[0].text, "delivery"), RawRow(14, f" {rows[1].text}", "delivery")], [], LIMITS)
    assert len(checked.rows) == 12
    assert checked.warnings == ["2 duplicate rows were dropped: rows 13, 14."]


def test_a_text_under_two_labels_is_kept_with_a_warning() -> None:
    rows = make_rows()
    checked = check_rows([*rows, RawRow(13, rows[0].text, "billing")], [], LIMITS)
    assert len(checked.rows) == 13
    assert checked.warnings == ["1 text stands under more than one label in the rows: row 1 ('delivery') and row 13 ('billing')."]


def test_training_rows_that_are_also_test_rows_are_dropped_with_a_warning() -> None:
    rows = make_rows()
    checked = check_rows(rows, with_rows([], (rows[3].text, "billing"), ("an unseen text", "delivery")), LIMITS)
    assert (len(checked.rows), len(checked.test)) == (11, 2)
    assert checked.label_counts == {"billing": 6, "delivery": 5}
    assert checked.warnings == ["1 training row was dropped, as the text is also among the test rows: row 4."]


def test_a_class_that_is_wholly_in_the_test_rows() -> None:
    rows = make_rows()
    problem = refusal(lambda: check_rows(rows, rows[:6], LIMITS))
    assert kind_of(problem) == "too-few-rows"
    assert "'delivery' has 0 rows left, duplicates and texts of test rows not counted" in problem.errors[0].detail


@pytest.mark.parametrize(("most", "warned"), [(59, False), (60, True)])
def test_heavy_imbalance(most: int, warned: bool) -> None:
    rows = with_rows(make_rows(labels=("billing",)), *[(row.text, "delivery") for row in make_rows(per_class=most, labels=("delivery",))])
    warnings = check_rows(rows, [], LIMITS).warnings
    assert [f"'delivery' has {most} rows, 'billing' has 6" in warning for warning in warnings] == [True] * warned


def test_texts_longer_than_the_model_reads() -> None:
    rows = with_rows(make_rows(), ("the word " * 48, "delivery"), ("這" * 1100, "delivery"), ("the word " * 47, "delivery"))
    (warning,) = check_rows(rows, [], LIMITS).warnings
    assert warning.startswith("2 texts are longer than the 128 word pieces")


def test_a_language_that_the_default_teacher_does_not_know() -> None:
    german = [RawRow(number, f"{GERMAN[number % 6]}, Fall {number}", f"klasse {number % 2}") for number in range(1, 41)]
    (warning,) = check_rows(german, [], LIMITS).warnings
    assert warning.startswith("About 100 % of the texts")
    assert "(de)" in warning
