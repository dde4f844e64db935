"""What a report says, in the words and figures of its page."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from app.contracts.report import Report, ReportEntry
from app.contracts.students import PrecisionEntry
from app.web.filters import number, percent, size
from app.web.pictures import DASH, Picture, Table, accuracy_picture, between, label_picture, named, ranged, score_pictures

Tone = Literal["good", "bad", "neutral"]
MOST_CELLS = 20
"""Labels a side of a confusion matrix; with more of them, the pairs tell more."""
MOST_PAIRS = 10
LEVELS = 9


@dataclass(frozen=True)
class Fact:
    name: str
    value: str
    note: str = ""


@dataclass(frozen=True)
class Cell:
    """`level`: 0 to `LEVELS`, by its share of the row."""

    count: int
    level: int
    right: bool


@dataclass(frozen=True)
class Matrix:
    """`rows`: the true label with its cells, one for each predicted label in the order of `labels`."""

    labels: Sequence[str]
    rows: Sequence[tuple[str, Sequence[Cell]]]


@dataclass(frozen=True)
class ReportView:
    headline: str
    generation: str
    tone: Tone
    notes: Sequence[str]
    facts: Sequence[Fact]
    entries: Table
    descriptions: Mapping[str, str]
    accuracy: Picture | None
    labels: Picture | None
    pictures: Sequence[Picture]
    matrix: Matrix | None
    pairs: Table | None
    generated: Table | None
    memorised: Sequence[str]
    warnings: Sequence[str]


def report_view(report: Report, manifest: Mapping[str, Any]) -> ReportView:
    """`manifest`: of the published student; that of an old version may lack what its size is told by."""
    entries = {entry.name: entry for entry in report.entries}
    student, teacher = entries.get("student"), entries.get("teacher")
    precision = str(manifest.get("precision", "fp16"))
    precisions = {name: PrecisionEntry.model_validate(entry) for name, entry in manifest.get("precisions", {}).items()}
    return ReportView(
        headline=headline(report, student, teacher),
        generation=report.verdict,
        tone=_tone(report),
        notes=_notes(report),
        facts=_facts(report, student, teacher),
        entries=_entries(report.entries),
        descriptions={named(entry.name): entry.description for entry in report.entries},
        accuracy=accuracy_picture(report.entries),
        labels=label_picture(report, student, teacher),
        pictures=score_pictures(report, precisions, precision),
        matrix=confusion(report.labels, student) if student else None,
        pairs=_pairs(report.labels, student, teacher) if student else None,
        generated=_generated(report.generated),
        memorised=[told.dropped(), told.left()] if (told := report.memorisation) and told.generated else [],
        warnings=report.warnings,
    )


def headline(report: Report, student: ReportEntry | None, teacher: ReportEntry | None) -> str:
    if student is None:
        return f"Measured on {report.holdout_rows:,} held-out rows."
    said = f"The student answers {percent(student.accuracy.value)} of {report.holdout_rows:,} held-out rows right"
    if teacher is None:
        return f"{said}."
    points = 100 * (student.accuracy.value - teacher.accuracy.value)
    if abs(points) < 0.05:
        distance = "as many as its teacher"
    else:
        distance = f"{abs(points):.1f} points {'more' if points > 0 else 'less'} than its teacher"
    times = teacher.bytes / student.bytes if student.bytes else 0
    return f"{said}: {distance}" + (f", which is {times:,.0f} times its size." if times >= 2 else ".")


def _tone(report: Report) -> Tone:
    if not report.generated.get("kept"):
        return "neutral"
    return "good" if report.generation_gain.low > 0 else "bad" if report.generation_gain.high < 0 else "neutral"


def _notes(report: Report) -> list[str]:
    source = "your test rows, which nothing learned from" if report.holdout_source == "test" else "a stratified part of your rows"
    notes = [f"Measured on {report.holdout_rows:,} rows: {source}."]
    if report.refit:
        notes.append("After that the student learned from those rows too: the figures are of the one before.")
    if report.holdout_rows < 200:
        notes.append("So few rows leave wide intervals: small differences may be chance.")
    return notes


def _facts(report: Report, student: ReportEntry | None, teacher: ReportEntry | None) -> list[Fact]:
    if student is None:
        return []
    facts = [
        Fact("Accuracy", percent(student.accuracy.value), between(student.accuracy)),
        Fact("Macro F1", percent(student.macro_f1.value), between(student.macro_f1)),
        Fact("Agrees with teacher", percent(student.agreement), f"teacher {percent(teacher.accuracy.value)}" if teacher else ""),
        Fact("On disk", size(student.bytes), f"{number(student.parameters)} parameters"),
        Fact("One text", f"{student.latency_ms:.2f}\u00a0ms", f"teacher {teacher.latency_ms:.1f}\u00a0ms" if teacher else ""),
    ]
    if report.scores:
        after = report.scores.student.after
        facts.append(Fact("Scores off by", percent(after.ece), f"by chance {percent(after.ece_by_chance)}"))
    return facts


def _entries(entries: Sequence[ReportEntry]) -> Table:
    heading = ("Classifier", "Accuracy", "Macro F1", "Agreement", "Parameters", "On disk", "One text")
    rows = [
        (
            named(entry.name),
            ranged(entry.accuracy),
            ranged(entry.macro_f1),
            percent(entry.agreement),
            number(entry.parameters),
            size(entry.bytes),
            f"{entry.latency_ms:.2f}\u00a0ms",
        )
        for entry in entries
    ]
    return Table(heading, rows)


def confusion(labels: Sequence[str], entry: ReportEntry) -> Matrix | None:
    """None where there are too many labels for a matrix to be read."""
    if len(labels) > MOST_CELLS or not entry.confusion_matrix:
        return None
    rows = []
    for place, (label, counts) in enumerate(zip(labels, entry.confusion_matrix, strict=True)):
        total = sum(counts) or 1
        # Rounded up, so that no error looks like none.
        cells = [Cell(count, -(-LEVELS * count // total), place == column) for column, count in enumerate(counts)]
        rows.append((label, cells))
    return Matrix(labels, rows)


def _pairs(labels: Sequence[str], student: ReportEntry, teacher: ReportEntry | None) -> Table | None:
    found = [
        (count, true, predicted)
        for true, row in enumerate(student.confusion_matrix)
        for predicted, count in enumerate(row)
        if true != predicted and count
    ]
    if not found:
        return None
    found.sort(key=lambda pair: (-pair[0], pair[1], pair[2]))
    rows = [
        (
            labels[true],
            labels[predicted],
            f"{count} of {sum(student.confusion_matrix[true])}",
            DASH if teacher is None else str(teacher.confusion_matrix[true][predicted]),
        )
        for count, true, predicted in found[:MOST_PAIRS]
    ]
    return Table(("True label", "Answered", "Student", "Teacher"), rows, texts=2)


def _generated(verdicts: Mapping[str, int]) -> Table | None:
    total = sum(verdicts.values())
    if not total:
        return None
    rows = [(verdict.replace("_", " "), f"{count:,}", percent(count / total)) for verdict, count in _by_count(verdicts) if count]
    return Table(("Verdict", "Texts", "Share"), rows)


def _by_count(verdicts: Mapping[str, int]) -> list[tuple[str, int]]:
    return sorted(verdicts.items(), key=lambda item: (item[0] != "kept", -item[1]))
