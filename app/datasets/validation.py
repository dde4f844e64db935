"""Checks rows against the limits: nothing is stored of rows that fail, and what is odd but usable becomes a warning."""

import re
import unicodedata
from collections import Counter, defaultdict
from dataclasses import dataclass

from app.config import Limits
from app.contracts.rows import Row
from app.datasets.inspection import conflict_warning, imbalance_warning, language_warning, length_warning
from app.datasets.json_format import kind
from app.datasets.raw import SURROGATES, UNSEEN, Faults, RawRow, limit_text, no_rows, number_list, quote, too_many_rows
from app.errors import FieldError, ServiceError

# Newlines and tabs may stand in a text, nothing else below U+0020: PostgreSQL and many JSON readers refuse it.
_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f]")
_INVISIBLE = "\u200b\u200c\u200d\u2060\ufeff"


@dataclass(frozen=True, slots=True)
class NumberedRow:
    """A checked row with its number, and its label as the caller wrote it."""

    number: int
    text: str
    label: str
    raw_label: str


@dataclass(frozen=True, slots=True)
class CheckedRows:
    """What may be stored. `label_counts` and `mean_chars` speak of the training rows."""

    rows: list[Row]
    test: list[Row]
    label_counts: dict[str, int]
    mean_chars: float
    warnings: list[str]


def check_each_row(rows: list[RawRow], limits: Limits) -> None:
    """What can be told of each row alone, of rows that others are yet to join. Raises `ServiceError` 422."""
    faults = Faults()
    _check_each(rows, limits, faults, "")
    faults.raise_any(422, "invalid-rows", "Some rows cannot be used")


def check_rows(rows: list[RawRow], test: list[RawRow], limits: Limits) -> CheckedRows:
    """Checks training rows and the caller's own test rows (may be none). Raises `ServiceError` 422."""
    for raw_part in (rows, test):
        if len(raw_part) > limits.max_rows:
            raise too_many_rows(limits.max_rows, f"{len(raw_part):,}")
    if not rows:
        raise no_rows("There are no rows.")
    faults = Faults()
    numbered = _check_each(rows, limits, faults, "")
    numbered_test = _check_each(test, limits, faults, " (test rows)")
    faults.raise_any(422, "invalid-rows", "Some rows cannot be used")
    _check_similar_labels(numbered, numbered_test)
    labels = list(dict.fromkeys(row.label for row in numbered))
    _check_classes(labels, numbered_test, limits)

    warnings: list[str] = []
    kept_test = _drop_duplicates(numbered_test, "test rows", warnings)
    kept = _drop_leaks(_drop_duplicates(numbered, "rows", warnings), kept_test, warnings)
    counts = Counter(row.label for row in kept)
    _check_class_sizes(labels, counts, numbered, limits)
    for part, what in ((kept, "rows"), (kept_test, "test rows")):
        warnings += conflict_warning([(row.number, row.text, row.label) for row in part], what)
    texts = [row.text for row in kept]
    warnings += [*imbalance_warning(counts), *length_warning(texts), *language_warning(texts)]
    return CheckedRows(
        rows=[Row(row.text, row.label) for row in kept],
        test=[Row(row.text, row.label) for row in kept_test],
        label_counts={label: counts[label] for label in sorted(labels)},
        mean_chars=sum(map(len, texts)) / len(texts),
        warnings=warnings,
    )


def _check_each(rows: list[RawRow], limits: Limits, faults: Faults, where: str) -> list[NumberedRow]:
    checked = []
    for raw in rows:
        before = faults.total
        text = _check_text(raw, limits, faults, where)
        raw_label = _label_string(raw, faults, where)
        label = _check_label(raw.row, raw_label, limits, faults, where) if raw_label is not None else ""
        if faults.total == before:
            checked.append(NumberedRow(raw.row, text, label, raw_label or ""))
    return checked


def _check_text(raw: RawRow, limits: Limits, faults: Faults, where: str) -> str:
    if raw.text is not None and not isinstance(raw.text, str):
        faults.add(f"the text is {kind(raw.text)}{where}", "Write the text as a string.", row=raw.row, column="text")
        return ""
    text = (raw.text or "").replace("\r\n", "\n").replace("\r", "\n").strip()
    if not text.strip(_INVISIBLE):
        detail = f"the text is {'missing' if raw.text is None else 'empty'}{where}"
        faults.add(detail, "Give the row a text, or remove it.", row=raw.row, column="text")
    elif len(text) > limits.max_text_chars:
        detail = f"the text has {len(text):,} characters{where}; {limit_text('max_text_chars', limits.max_text_chars)}"
        faults.add(detail, "Shorten the text, or raise the setting.", row=raw.row, column="text")
    elif found := _CONTROL.search(text) or SURROGATES.search(text):
        detail = f"the text holds the control character U+{ord(found[0]):04X}{where}"
        faults.add(detail, "Remove it; only newlines and tabs may stand in a text.", row=raw.row, column="text")
    return text


def _label_string(raw: RawRow, faults: Faults, where: str) -> str | None:
    if isinstance(raw.label, str):
        return raw.label
    if isinstance(raw.label, bool):
        return "true" if raw.label else "false"
    if isinstance(raw.label, int):
        return str(raw.label)
    is_missing = raw.label is None
    detail = "the label is missing" if is_missing else f"the label is {kind(raw.label)}"
    remedy = "Give the row a label, or remove it." if is_missing else "Write the label as a string or a whole number."
    faults.add(f"{detail}{where}", remedy, row=raw.row, column="label")
    return None


def _check_label(number: int, raw_label: str, limits: Limits, faults: Faults, where: str) -> str:
    label = raw_label.strip()
    if not label.strip(_INVISIBLE):
        faults.add(f"the label is empty{where}", "Give the row a label, or remove it.", row=number, column="label")
    elif len(label) > limits.max_label_chars:
        detail = f"the label has {len(label):,} characters{where}; {limit_text('max_label_chars', limits.max_label_chars)}"
        faults.add(detail, "Shorten the label, or raise the setting; are the two columns swapped?", row=number, column="label")
    elif found := UNSEEN.search(label) or SURROGATES.search(label):
        detail = f"the label holds the control character U+{ord(found[0]):04X}{where}"
        faults.add(detail, "Write the label in one line of visible characters.", row=number, column="label")
    return label


def _check_similar_labels(rows: list[NumberedRow], test: list[NumberedRow]) -> None:
    """Labels are compared as the caller wrote them, so that 'billing ' is not silently merged with 'billing'."""
    first: dict[str, tuple[int, str]] = {}
    for part, where in ((rows, ""), (test, " (test rows)")):
        for row in part:
            first.setdefault(row.raw_label, (row.number, where))
    spellings: dict[str, list[str]] = defaultdict(list)
    for label in first:
        spellings["".join(unicodedata.normalize("NFKC", label).casefold().split())].append(label)
    faults = Faults()
    for known, *others in spellings.values():
        for label in others:
            number, where = first[label]
            known_at = f"row {first[known][0]}{first[known][1]}"
            detail = f"the label {quote(label)}{where} differs from {quote(known)} ({known_at}) only by case or spaces"
            faults.add(detail, "Write them the same way, or rename one so that they differ.", row=number, column="label")
    faults.raise_any(422, "similar-labels", "Some labels differ only by case or spaces")


def _check_classes(labels: list[str], test: list[NumberedRow], limits: Limits) -> None:
    if len(labels) < 2:
        detail = f"All rows have the label {quote(labels[0])}; a classifier needs at least two classes."
        raise ServiceError(422, "too-few-classes", detail, remedy="Add rows of another class.")
    if len(labels) > limits.max_classes:
        detail = f"There are {len(labels):,} classes; {limit_text('max_classes', limits.max_classes)}."
        remedy = "Merge classes, or raise the setting; are the two columns swapped?"
        raise ServiceError(422, "too-many-classes", detail, remedy=remedy)
    faults = Faults()
    known = set(labels)
    for row in test:
        if row.label not in known:
            detail = f"the label {quote(row.label)} (test rows) is not among the labels of the training rows"
            faults.add(detail, "Add training rows of this class, or remove the test row.", row=row.number, column="label")
    faults.raise_any(422, "unknown-test-label", "Some test rows have an unknown label")


def _check_class_sizes(labels: list[str], counts: Counter[str], rows: list[NumberedRow], limits: Limits) -> None:
    small = {label for label in labels if counts[label] < limits.min_rows_per_class}
    if not small:
        return
    numbers: dict[str, list[int]] = defaultdict(list)
    for row in rows:
        if row.label in small:
            numbers[row.label].append(row.number)
    total = len(small)
    errors = []
    for label in sorted(small, key=lambda name: (counts[name], name)):
        count = counts[label]
        left = " left, duplicates and texts of test rows not counted" if count < len(numbers[label]) else ""
        detail = f"the class {quote(label)} has {count} row{'s' if count != 1 else ''}{left} ({number_list(numbers[label])})"
        remedy = f"Add {limits.min_rows_per_class - count} or more rows of this class, or remove it."
        errors.append(FieldError(row=numbers[label][0], column="label", detail=detail, remedy=remedy))
    plural = "classes have" if total > 1 else "class has"
    detail = f"{total} {plural} too few rows; {limit_text('min_rows_per_class', limits.min_rows_per_class)}. First: {errors[0].detail}."
    raise ServiceError(422, "too-few-rows", detail, remedy=errors[0].remedy, errors=errors[:50], errors_total=total)


def _drop_duplicates(rows: list[NumberedRow], what: str, warnings: list[str]) -> list[NumberedRow]:
    seen: set[tuple[str, str]] = set()
    kept, dropped = [], []
    for row in rows:
        if (row.text, row.label) in seen:
            dropped.append(row.number)
        else:
            seen.add((row.text, row.label))
            kept.append(row)
    if dropped:
        noun = what if len(dropped) > 1 else what.removesuffix("s")
        verb = "were" if len(dropped) > 1 else "was"
        warnings.append(f"{len(dropped)} duplicate {noun} {verb} dropped: {number_list(dropped)}.")
    return kept


def _drop_leaks(rows: list[NumberedRow], test: list[NumberedRow], warnings: list[str]) -> list[NumberedRow]:
    """Without the training rows that would tell the model a test row's answer."""
    tested = {row.text for row in test}
    leaked = [row.number for row in rows if row.text in tested]
    if leaked:
        verb = "rows were" if len(leaked) > 1 else "row was"
        warnings.append(f"{len(leaked)} training {verb} dropped, as the text is also among the test rows: {number_list(leaked)}.")
    return [row for row in rows if row.text not in tested]
