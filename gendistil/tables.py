"""Answers as tables for a terminal. Cells are `Text`, so that a label in brackets is not taken for markup."""

from collections.abc import Sequence

from rich.box import SIMPLE_HEAD
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from gendistil.figures import duration, interval, parameters, size
from gendistil.models import Collection, Drift, Job, JobEstimate, Prediction, Predictions, Preset, Report, Student, SyntheticText


def plain_table(*headings: str, right: Sequence[str] = (), title: str | None = None) -> Table:
    """The headings in `right` stand over figures."""
    table = Table(title=Text(title) if title else None, title_justify="left", box=SIMPLE_HEAD, show_edge=False, padding=(0, 1, 0, 0))
    for heading in headings:
        table.add_column(heading, justify="right" if heading in right else "left", overflow="fold")
    return table


def add(table: Table, *cells: object, style: str = "") -> None:
    table.add_row(*(Text(str(cell)) for cell in cells), style=style)


def _warnings(lines: Sequence[str]) -> list[RenderableType]:
    return [Text(f"Warning: {line}", style="yellow") for line in lines]


def jobs_table(jobs: Sequence[Job]) -> RenderableType:
    table = plain_table("id", "name", "status", "left", "student")
    for job in jobs:
        left = duration(job.eta_seconds) if job.eta_seconds is not None and not job.ended else ""
        add(table, job.id, job.name, job.status, left, f"{job.student.name}:{job.student.version}" if job.student else "")
    return table


def report_table(report: Report) -> RenderableType:
    """The report's entries side by side, and the verdict; fits 80 columns."""
    figures = ("accuracy", "macro F1", "params", "size", "latency")
    title = f"Report on {report.holdout_rows:,} held-out real rows (%, with 95 % intervals)"
    table = plain_table("", *figures, right=figures, title=title)
    for entry in report.entries:
        latency = f"{entry.latency_ms:.2f} ms" if entry.latency_ms is not None else ""
        cells = (interval(entry.accuracy), interval(entry.macro_f1), parameters(entry.parameters), size(entry.bytes), latency)
        add(table, entry.name, *cells, style="bold" if entry.name == "student" else "")
    lines: list[RenderableType] = [table]
    if report.generated:
        lines.append(Text("Generated texts: " + ", ".join(f"{count:,} {verdict}" for verdict, count in report.generated.items() if count)))
    if (found := report.memorisation) and found.generated:
        dropped = found.exact_copies + found.near_copies + found.shared_runs
        shared = (
            f"{found.kept_with_run:,} kept ones share {found.run_words} words or more with a row (longest run {found.longest_kept_run})"
        )
        lines.append(Text(f"Near a row and dropped: {dropped:,}, {found.exact_copies:,} of them exact copies. {shared}."))
    lines.append(Text(report.verdict, style="bold"))
    if report.refit:
        lines.append(Text("The published student then learned from the held-out rows too."))
    return Group(*lines, *_warnings(report.warnings))


def predictions_table(texts: Sequence[str], answer: Predictions) -> RenderableType:
    """One line a text: its best label, with its score, and the runners-up."""
    table = plain_table("text", "label", "score", "next best", right=["score"], title=f"Predictions of {answer.student}:{answer.version}")
    for text, prediction in zip(texts, answer.predictions, strict=True):
        others = ", ".join(f"{other.label} {other.score:.2f}" for other in prediction.scores[1:])
        label = Text(prediction.label, style="dim" if prediction.abstained else "bold")
        if remark := _remark(prediction):
            label.append(f" ({remark})", style="yellow")
        table.add_row(Text(text), label, Text(f"{prediction.score:.3f}"), Text(others, style="dim"))
    return table


def _remark(prediction: Prediction) -> str:
    parts = ["abstained"] if prediction.abstained else []
    if prediction.answered_by != "student":
        parts.append(f"by the {prediction.answered_by}")
    if prediction.out_of_scope is not None:
        parts.append(f"out of scope {prediction.out_of_scope:.2f}")
    return ", ".join(parts)


def texts_table(texts: Sequence[SyntheticText]) -> RenderableType:
    """One line a text, with the teacher's best label and how sure it is."""
    table = plain_table("id", "text", "asked for", "teacher says", "", "verdict", right=["id", ""])
    for text in texts:
        best = max((text.probabilities or {}).items(), key=lambda item: item[1], default=None)
        says = (best[0], f"{best[1]:.2f}") if best else ("", "")
        add(table, text.id, text.text, text.label or "", *says, text.verdict, style="" if text.verdict == "kept" else "dim")
    return table


def estimate_table(estimate: JobEstimate) -> RenderableType:
    """What each stage would take, and all together."""
    table = plain_table("stage", "time", "memory", "stores", "", right=["time", "memory", "stores"])
    for stage in estimate.stages:
        if stage.reused:
            add(table, stage.name, "", "", "", "reused", style="dim")
        else:
            remark = "may be reused" if stage.reused is None else ""
            add(table, stage.name, duration(stage.seconds), size(stage.peak_bytes), size(stage.artefact_bytes), remark)
    totals = estimate.totals
    add(table, "in all", duration(totals.seconds), size(totals.peak_bytes), size(totals.artefact_bytes), "", style="bold")
    past = "the last job" if estimate.past_jobs == 1 else f"the last {estimate.past_jobs} jobs"
    source = f"{past} on this service" if estimate.past_jobs else "two CPU cores; no job has ended here yet"
    lines: list[RenderableType] = [table, Text(f"Times are those of {source}.")]
    room = ((estimate.memory_bytes, "of memory"), (estimate.free_bytes, "left in the blob store"))
    if has := [f"{size(amount)} {what}" for amount, what in room if amount is not None]:
        lines.append(Text(f"It fits: there are {' and '.join(has)}."))
    return Group(*lines, *_warnings(estimate.warnings))


def students_table(students: Sequence[Student]) -> RenderableType:
    """One line a name."""
    table = plain_table("name", "latest", "kind", "accuracy", "size", "versions", "other aliases", right=["accuracy", "size", "versions"])
    for student in students:
        latest = student.aliases.get("latest")
        served = next((version for version in student.versions if version.version == latest), None)
        others = ", ".join(f"{alias} {version}" for alias, version in sorted(student.aliases.items()) if alias != "latest")
        kind, accuracy, bytes_ = (served.kind, _accuracy(served.metrics), size(served.bytes)) if served else ("", "", "")
        add(table, student.name, latest or "", kind, accuracy, bytes_, len(student.versions), others)
    return table


def versions_table(student: Student) -> RenderableType:
    """One line a version, the newest first."""
    table = plain_table("version", "kind", "accuracy", "size", "published", "job", "aliases", right=["version", "accuracy", "size"])
    for version in student.versions:
        aliases = ", ".join(sorted(alias for alias, meant in student.aliases.items() if meant == version.version))
        published = version.created_at.strftime("%Y-%m-%d %H:%M") if version.created_at else ""
        figures = (_accuracy(version.metrics), size(version.bytes))
        add(table, version.version, version.kind, *figures, published, version.job_id or "imported", aliases)
    return table


def _accuracy(metrics: dict[str, float]) -> str:
    return f"{100 * metrics['accuracy']:.1f} %" if "accuracy" in metrics else ""


def drift_table(drift: Drift) -> RenderableType:
    """The verdict, and what it rests on."""
    lines: list[RenderableType] = [Text(drift.verdict, style="bold")]
    table = plain_table("what", "reading", "psi", "by chance", "live", "holdout", right=["psi", "by chance", "live", "holdout"])
    for what, found in (("labels", drift.labels), ("scores", drift.scores)):
        if found is not None:
            add(table, what, found.reading, f"{found.psi:.3f}", f"{found.psi_by_chance:.3f}", "", "")
    if drift.unknown_pieces is not None:
        pieces = drift.unknown_pieces
        add(table, "unknown pieces", pieces.reading, "", "", f"{100 * pieces.live:.1f} %", f"{100 * pieces.holdout:.1f} %")
    if table.row_count:
        lines.append(table)
    lines.append(Text(f"{drift.name}:{drift.version}, {drift.texts:,} texts of the last {drift.days} days."))
    return Group(*lines)


def presets_table(presets: Sequence[Preset]) -> RenderableType:
    table = plain_table("preset", "", "what it is for")
    for preset in presets:
        add(table, preset.name, "default" if preset.default else "", preset.summary)
    return table


def garbage_table(collection: Collection) -> RenderableType:
    """What a garbage collection removed, or would remove."""
    table = plain_table("would be removed" if collection.dry_run else "removed", "count", "size", right=["count", "size"])
    kinds = {
        "artefacts": collection.artefacts,
        "datasets": collection.datasets,
        "checkpoints": collection.checkpoints,
        "bulk predictions": collection.bulk_predictions,
        "temporary files": collection.temporary_files,
    }
    for kind, garbage in kinds.items():
        add(table, kind, f"{garbage.count:,}", size(garbage.bytes))
    add(table, "expired idempotency keys", f"{collection.idempotency_keys:,}", "")
    add(table, "in all", "", size(collection.bytes), style="bold")
    if not collection.failed:
        return table
    return Group(table, Text(f"{collection.failed:,} could not be removed; the service's log says why.", style="yellow"))
