"""The pictures of a report, each with the table that says the same in text."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from app.contracts.report import CandidateScores, Interval, ReliabilityBin, Report, ReportEntry, ScoreReport
from app.contracts.students import PrecisionEntry
from app.web.charts import Axis, Bar, IntervalRow, Point, Role, Series, bar_chart, interval_chart, plot
from app.web.charts.scales import around
from app.web.filters import number, percent, size

NAMES = {"teacher": "Teacher", "student": "Student", "no_generation": "No generation", "seed_only": "Rows only", "tfidf": "TF-IDF"}
"""By the names of a report's entries."""
MOST_BARS = 30
DASH = "\u2013"


@dataclass(frozen=True)
class Table:
    """The first columns, `texts` of them, are words and the others figures. What stands first names the row.

    What follows a line's end in a cell is less important than what stands before.
    """

    heading: Sequence[str]
    rows: Sequence[Sequence[str]]
    texts: int = 1


@dataclass(frozen=True)
class Picture:
    """`about`: how it is read."""

    id: str
    title: str
    about: str
    svg: Markup
    table: Table


def named(name: str) -> str:
    return NAMES.get(name, name)


def role_of(name: str) -> Role:
    if name == "student":
        return "student"
    return "teacher" if name == "teacher" else "baseline"


def ranged(interval: Interval) -> str:
    """With its 95 % interval in a line of its own."""
    return f"{percent(interval.value)}\n{between(interval)}"


def between(interval: Interval) -> str:
    return f"{100 * interval.low:.1f}\u2013{100 * interval.high:.1f}"


def score_pictures(report: Report, precisions: Mapping[str, PrecisionEntry], precision: str) -> list[Picture]:
    """Those that the report has figures for. `precision`: of the student's table that ships, one of `precisions`."""
    found = [_sizes(report.entries, precisions, precision), _reliability(report), _risk_coverage(report), _curve(report)]
    return [picture for picture in found if picture is not None]


def accuracy_picture(entries: Sequence[ReportEntry]) -> Picture | None:
    if not entries:
        return None
    rows = [
        IntervalRow(named(entry.name), role_of(entry.name), entry.accuracy.value, entry.accuracy.low, entry.accuracy.high)
        for entry in entries
    ]
    told = "; ".join(f"{row.name} {percent(row.value)}" for row in rows)
    table = Table(
        ("Classifier", "Accuracy", "Macro F1"), [(named(entry.name), ranged(entry.accuracy), ranged(entry.macro_f1)) for entry in entries]
    )
    about = "Share of the held-out rows answered right. A line is the 95 % interval (bootstrap over the rows)."
    return Picture("accuracy", "Accuracy", about, interval_chart(rows, "accuracy", f"Accuracy with 95 % intervals: {told}."), table)


def label_picture(report: Report, student: ReportEntry | None, teacher: ReportEntry | None) -> Picture | None:
    if student is None or not student.per_class_f1:
        return None
    beside = teacher.per_class_f1 if teacher else {}
    counts = _true_counts(report.labels, student)
    weakest = sorted(student.per_class_f1, key=lambda label: (student.per_class_f1[label], label))
    bars = [Bar(label, student.per_class_f1[label], beside.get(label)) for label in weakest]
    about = "The weakest label first. The stroke is the teacher's."
    if len(bars) > MOST_BARS:
        about = f"The {MOST_BARS} weakest of {len(bars)} labels; the table has all. The stroke is the teacher's."
    told = f"F1 of {len(bars)} labels, from {bars[0].name} ({percent(bars[0].value)}) to {bars[-1].name} ({percent(bars[-1].value)})."
    rows = [(bar.name, percent(bar.value), _percent_or_dash(bar.beside), counts.get(bar.name, DASH)) for bar in bars]
    table = Table(("Label", "Student", "Teacher", "Rows"), rows)
    return Picture("labels", "F1 of each label", about, bar_chart(bars[:MOST_BARS], told, "the teacher"), table)


def _true_counts(labels: Sequence[str], entry: ReportEntry) -> dict[str, str]:
    return {label: number(sum(row)) for label, row in zip(labels, entry.confusion_matrix, strict=False)}


def _reliability(report: Report) -> Picture | None:
    if report.scores is None or not report.scores.student.reliability:
        return None
    both = _both(report.scores)
    bins = [one for _, _, scores in both for one in scores.reliability]
    low = around([edge for one in bins for edge in (one.score, one.accuracy)], least=0.2)[0]
    series = [
        Series(name, role, [_bin_point(one, name, role) for one in scores.reliability], line=role == "student")
        for name, role, scores in both
    ]
    student = report.scores.student
    about = (
        "Rows of like scores: on the dashed line a score of 80 % is right four times in five. "
        f"Off by {percent(student.after.ece)} on average; {percent(student.after.ece_by_chance)} is what chance alone would show."
    )
    told = f"Accuracy by score, in {len(student.reliability)} groups of rows: " + "; ".join(
        f"{percent(one.score, 0)} scored, {percent(one.accuracy, 0)} right" for one in student.reliability
    )
    shown = _percent_axis
    picture = plot(series, shown("score", low, 1), shown("right", low, 1), f"{told}.", diagonal="scores that are honest")
    rows = [(name, number(one.rows), percent(one.score), percent(one.accuracy)) for name, _, scores in both for one in scores.reliability]
    table = Table(("Classifier", "Rows", "Mean score", "Answered right"), rows)
    return Picture("reliability", "Are the scores honest?", about, picture, table)


def _both(scores: ScoreReport) -> list[tuple[str, Role, CandidateScores]]:
    return [("Student", "student", scores.student), ("Teacher", "teacher", scores.teacher)]


def _bin_point(one: ReliabilityBin, name: str, role: Role) -> Point:
    hint = f"{name}: {one.rows} rows scored {percent(one.score)} on average, {percent(one.accuracy)} right"
    low, high = wilson(one.accuracy, one.rows) if role == "student" else (None, None)
    return Point(one.score, one.accuracy, hint, low, high)


def wilson(share: float, rows: int) -> tuple[float, float]:
    """The 95 % interval of a share of so many rows (Wilson 1927)."""
    z = 1.96
    middle = (share + z * z / (2 * rows)) / (1 + z * z / rows)
    reach = z * math.sqrt(share * (1 - share) / rows + z * z / (4 * rows * rows)) / (1 + z * z / rows)
    return max(middle - reach, 0.0), min(middle + reach, 1.0)


def _risk_coverage(report: Report) -> Picture | None:
    if report.scores is None or not report.scores.student.risk_coverage:
        return None
    both = _both(report.scores)
    series = [
        Series(
            name,
            role,
            [
                Point(
                    point.coverage,
                    point.risk,
                    f"{name}: of the surest {percent(point.coverage, 0)}, {percent(point.risk)} wrong (score from {point.score:.2f})",
                )
                for point in scores.risk_coverage
            ],
            marks=False,
        )
        for name, role, scores in both
    ]
    highest = around([point.risk for _, _, scores in both for point in scores.risk_coverage])[1]
    student = report.scores.student.risk_coverage
    half = min(student, key=lambda point: abs(point.coverage - 0.5))
    told = (
        f"Share of wrong answers by share of texts answered: {percent(half.risk)} wrong of the surest {percent(half.coverage, 0)}, "
        f"{percent(student[-1].risk)} of all."
    )
    rows = [
        (percent(point.precision, 0), f"{point.threshold:.3f}", percent(point.coverage), _percent_or_dash(point.holdout_precision))
        for point in report.scores.selective
    ]
    about = "What is left wrong if only the surest texts are answered, and the others go to a person or a larger model."
    drawn = plot(series, _percent_axis("texts answered", 0, 1), _percent_axis("wrong", 0, highest), told)
    table = Table(("To be right so often", "Answer from this score", "Texts answered", "Right, on the holdout"), rows)
    return Picture("abstaining", "What abstaining buys", about, drawn, table)


def _sizes(entries: Sequence[ReportEntry], precisions: Mapping[str, PrecisionEntry], precision: str) -> Picture | None:
    sized = [entry for entry in entries if entry.bytes > 0]
    if not sized:
        return None
    series = [
        Series("", role_of(entry.name), [Point(entry.bytes, entry.accuracy.value, _size_hint(entry), name=named(entry.name))], line=False)
        for entry in sized
    ]
    rows = [
        (named(entry.name), size(entry.bytes), number(entry.parameters), f"{entry.latency_ms:.2f}\u00a0ms", percent(entry.accuracy.value))
        for entry in sized
    ]
    student = next((entry for entry in sized if entry.name == "student"), None)
    others = other_precisions(student, precisions, precision) if student else {}
    for name, (count, accuracy) in others.items():
        hint = f"Student in {name}: {size(count)}, {percent(accuracy)}"
        series.append(Series("", "student", [Point(count, accuracy, hint, name=name)], line=False))
        rows.append((f"Student in {name}", size(count), "", "", percent(accuracy)))
    counts = [point.x for one in series for point in one.points]
    low, high = around([point.y for one in series for point in one.points])
    x_axis = Axis("bytes on disk", min(counts) / 2, max(counts) * 2, _round_size, log=True)
    told = "; ".join(f"{row[0]} {row[1]}, {row[-1]}" for row in rows)
    drawn = plot(series, x_axis, _percent_axis("accuracy", low, high), f"Accuracy by size on disk: {told}.")
    table = Table(("Classifier", "On disk", "Parameters", "One text", "Accuracy"), rows)
    about = "Upwards is better, to the left is smaller; that axis is logarithmic. A student's bytes are its network's and its tokenizer's."
    return Picture("size", "Accuracy against size", about, drawn, table)


def other_precisions(student: ReportEntry, precisions: Mapping[str, PrecisionEntry], precision: str) -> dict[str, tuple[int, float]]:
    """Bytes and accuracy of the student with tables of types that did not ship. Both stand in the manifest against torch."""
    shipped = precisions.get(precision)
    if shipped is None:
        return {}
    exact = student.accuracy.value - shipped.accuracy_difference
    return {name: (entry.bytes, exact + entry.accuracy_difference) for name, entry in precisions.items() if name != precision}


def _size_hint(entry: ReportEntry) -> str:
    return f"{named(entry.name)}: {size(entry.bytes)}, {percent(entry.accuracy.value)}, {entry.latency_ms:.2f} ms a text"


def _curve(report: Report) -> Picture | None:
    if not report.curve:
        return None
    points = [
        Point(
            point.texts,
            point.accuracy.value,
            f"{point.texts:,} generated texts: {percent(point.accuracy.value)} ({between(point.accuracy)})",
            point.accuracy.low,
            point.accuracy.high,
        )
        for point in report.curve
    ]
    low, high = around([edge for point in report.curve for edge in (point.accuracy.low, point.accuracy.high)])
    most = max(point.texts for point in report.curve)
    told = "Accuracy by number of generated texts: " + "; ".join(
        f"{point.texts:,}: {percent(point.accuracy.value)}" for point in report.curve
    )
    drawn = plot(
        [Series("Student", "student", points)], Axis("generated texts", 0, most, number), _percent_axis("accuracy", low, high), told
    )
    table = Table(
        ("Generated texts", "Accuracy", "Macro F1"),
        [(f"{point.texts:,}", ranged(point.accuracy), ranged(point.macro_f1)) for point in report.curve],
    )
    about = "The student, distilled on so many of the generated texts. Still rising at the right end: more texts may help."
    return Picture("texts", "How many texts it takes", about, drawn, table)


def _percent_axis(title: str, low: float, high: float) -> Axis:
    return Axis(title, low, high, lambda value: f"{100 * value:g} %")


def _round_size(count: float) -> str:
    return size(count).replace(".0", "")


def _percent_or_dash(value: float | None) -> str:
    return DASH if value is None else percent(value)
