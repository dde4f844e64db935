"""A job as a person watches it: live on a terminal, as plain lines in a pipe or a CI log; and its report as a table."""

import time
from collections.abc import Callable
from types import TracebackType

from rich.box import SIMPLE_HEAD
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.markup import escape
from rich.progress_bar import ProgressBar
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from gendistil.models import BulkPrediction, Collection, Interval, Job, JobEstimate, Predictions, Report, StageView

PLAIN_SECONDS = 10.0
"""Without a terminal, a running stage prints a line at least this often."""
STYLES = {"succeeded": "green", "running": "cyan", "failed": "bold red", "cancelled": "yellow", "queued": "blue", "pending": "dim"}
MARKS = {"succeeded": "✓", "failed": "✗", "cancelled": "-", "queued": "…", "pending": " "}


class JobDisplay:
    """Shows a job as it goes: `with JobDisplay(console) as display: client.wait(id, on_update=display.update)`."""

    def __init__(self, console: Console, clock: Callable[[], float] = time.monotonic) -> None:
        self.console = console
        self.clock = clock
        self._live = Live(console=console, refresh_per_second=8, transient=False) if console.is_terminal else None
        self._spinner = Spinner("dots", style="cyan")
        self._seen: dict[str, tuple[str, int]] = {}
        self._printed_at: dict[str, float] = {}
        self._status = ""

    def __enter__(self) -> "JobDisplay":
        if self._live:
            self._live.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._live:
            self._live.stop()

    def update(self, job: Job) -> None:
        if self._live:
            self._live.update(self.render(job), refresh=True)
        else:
            self._print_changes(job)

    def render(self, job: Job) -> RenderableType:
        """One line a stage: mark, name, bar, done/total, seconds."""
        table = Table.grid(padding=(0, 1))
        for stage in job.stages:
            style = STYLES.get(stage.status, "")
            mark: RenderableType = self._spinner if stage.status == "running" else Text(MARKS.get(stage.status, "?"), style=style)
            table.add_row(mark, Text(stage.name, style=style), _bar(stage), Text(_amount(stage)), Text(_remark(stage), style="dim"))
        return Group(Text(_headline(job), style="bold"), table)

    def _print_changes(self, job: Job) -> None:
        if job.status != self._status and not job.ended:
            self._plain(_headline(job))
            self._status = job.status
        for stage in job.stages:
            now, state = self.clock(), (stage.status, stage.attempt)
            if self._seen.get(stage.name) != state:
                self._seen[stage.name] = state
                self._printed_at[stage.name] = now
                if stage.status != "pending":
                    self._line(stage, job)
            elif stage.status == "running" and now - self._printed_at[stage.name] >= PLAIN_SECONDS:
                self._printed_at[stage.name] = now
                self._line(stage, job)
        if job.status != self._status:
            self._status = job.status
            self._plain(_headline(job))

    def _line(self, stage: StageView, job: Job) -> None:
        eta = f"about {duration(job.eta_seconds)} left" if stage.status == "running" and job.eta_seconds is not None else ""
        parts = (f"  {stage.name:<18} {stage.status:<9}", _amount(stage), _remark(stage), eta)
        self._plain("  ".join(part for part in parts if part))

    def _plain(self, line: str) -> None:
        self.console.print(line, markup=False, highlight=False, soft_wrap=True)
        self.console.file.flush()  # a pipe is block-buffered: the reader would see nothing for minutes


class BulkDisplay:
    """Shows how far a file is: live on a terminal, as a line for each change of status and one now and then in a pipe."""

    def __init__(self, console: Console, clock: Callable[[], float] = time.monotonic) -> None:
        self.console, self.clock = console, clock
        self._live = Live(console=console, refresh_per_second=8) if console.is_terminal else None
        self._said: tuple[str, float] = ("", 0.0)

    def __enter__(self) -> "BulkDisplay":
        if self._live:
            self._live.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._live:
            self._live.stop()

    def update(self, found: BulkPrediction) -> None:
        line = bulk_line(found)
        if self._live:
            bar = ProgressBar(total=found.progress.total or 1, completed=found.progress.done, width=24)
            self._live.update(Group(Text(line, style=STYLES.get(found.status, "")), bar), refresh=True)
        elif found.status != self._said[0] or self.clock() - self._said[1] >= PLAIN_SECONDS:
            self._said = (found.status, self.clock())
            self.console.print(line, markup=False, highlight=False, soft_wrap=True)


def bulk_line(found: BulkPrediction) -> str:
    """`bp_1 triage:2 running, 300/1,000 rows, about 2 s left`"""
    parts = [f"{found.id} {found.student}:{found.version} {found.status}"]
    parts.append(f"{_number(found.progress.done)}/{_number(found.progress.total)} rows")
    if found.eta_seconds is not None and not found.ended:
        parts.append(f"about {duration(found.eta_seconds)} left")
    return ", ".join(parts)


def _headline(job: Job) -> str:
    line = f"Job {job.id} '{job.name}': {job.status}"
    if job.status in {"queued", "running"} and job.eta_seconds is not None:
        return f"{line}, about {duration(job.eta_seconds)} left"
    if job.status == "succeeded" and job.student:
        return f"{line}, published as {job.student.name}:{job.student.version}"
    return line


def _bar(stage: StageView) -> ProgressBar:
    if stage.status == "succeeded":  # one that was reused did no work and counts none
        return ProgressBar(total=1, completed=1, width=24)
    done, total = stage.progress.done, stage.progress.total
    return ProgressBar(total=total or 1, completed=min(done, total), width=24, pulse=stage.status == "running" and not total)


def _amount(stage: StageView) -> str:
    progress = stage.progress
    return f"{_number(progress.done)}/{_number(progress.total)} {progress.unit}".rstrip() if progress.total else ""


def _number(value: float) -> str:
    return f"{value:,.0f}" if value == int(value) else f"{value:,.1f}"


def _remark(stage: StageView) -> str:
    parts = []
    if stage.reused:
        parts.append("reused")
    elif stage.seconds is not None and stage.status not in {"pending", "queued"}:
        parts.append(duration(stage.seconds))
    if stage.attempt > 1 and not stage.reused:
        parts.append(f"attempt {stage.attempt}")
    return ", ".join(parts)


def duration(seconds: float) -> str:
    """`0.4 s`, `42 s`, `3 min 05 s`, `1 h 02 min`."""
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def report_table(report: Report) -> RenderableType:
    """The report's entries side by side, and the verdict."""
    title = f"Report on {report.holdout_rows:,} held-out real rows (%, with 95 % intervals)"
    table = Table(title=title, title_justify="left", box=SIMPLE_HEAD, show_edge=False, padding=(0, 1, 0, 0))  # fits 80 columns
    table.add_column("")
    for heading in ("accuracy", "macro F1", "params", "size", "latency"):
        table.add_column(heading, justify="right")
    for entry in report.entries:
        style = "bold" if entry.name == "student" else ""
        latency = f"{entry.latency_ms:.2f} ms" if entry.latency_ms is not None else ""
        cells = (interval(entry.accuracy), interval(entry.macro_f1), _parameters(entry.parameters), size(entry.bytes), latency)
        table.add_row(Text(entry.name), *(Text(cell) for cell in cells), style=style)
    lines: list[RenderableType] = [table]
    if report.generated:
        lines.append(Text("Generated texts: " + ", ".join(f"{count:,} {verdict}" for verdict, count in report.generated.items() if count)))
    lines.append(Text(report.verdict, style="bold"))
    if report.refit:
        lines.append(Text("The published student then learned from the held-out rows too."))
    lines += [Text(f"Warning: {warning}", style="yellow") for warning in report.warnings]
    return Group(*lines)


def interval(figure: Interval) -> str:
    return f"{100 * figure.value:.1f} ({100 * figure.low:.1f}-{100 * figure.high:.1f})"


def _parameters(count: int | None) -> str:
    if count is None:
        return ""
    return f"{count / 1e6:,.2f} M" if count >= 100_000 else f"{count:,}"


def size(count: int | None) -> str:
    if count is None:
        return ""
    return f"{count / 1e6:,.1f} MB" if count >= 100_000 else f"{count / 1e3:,.1f} kB"


def predictions_table(texts: list[str], answer: Predictions) -> RenderableType:
    """One line a text: its best label, with its score, and the runners-up."""
    table = Table(
        title=f"Predictions of {answer.student}:{answer.version}",
        title_justify="left",
        box=SIMPLE_HEAD,
        show_edge=False,
        padding=(0, 1, 0, 0),
    )
    table.add_column("text", overflow="fold")
    table.add_column("label", style="bold")
    table.add_column("score", justify="right")
    table.add_column("next best", style="dim")
    for text, prediction in zip(texts, answer.predictions, strict=True):
        others = ", ".join(f"{escape(other.label)} {other.score:.2f}" for other in prediction.scores[1:])
        table.add_row(escape(text), escape(prediction.label), f"{prediction.score:.3f}", others)
    return table


def estimate_table(estimate: JobEstimate) -> RenderableType:
    """What each stage would take, and all together."""
    table = Table(box=SIMPLE_HEAD, show_edge=False, padding=(0, 1, 0, 0))
    table.add_column("stage")
    for heading in ("time", "memory", "stores"):
        table.add_column(heading, justify="right")
    table.add_column("")
    for stage in estimate.stages:
        if stage.reused:
            table.add_row(stage.name, "", "", "", "reused", style="dim")
        else:
            remark = "may be reused" if stage.reused is None else ""
            table.add_row(stage.name, duration(stage.seconds), size(stage.peak_bytes), size(stage.artefact_bytes), remark)
    totals = estimate.totals
    table.add_row("in all", duration(totals.seconds), size(totals.peak_bytes), size(totals.artefact_bytes), "", style="bold")
    source = (
        f"the last {estimate.past_jobs} jobs on this service"
        if estimate.past_jobs
        else "two CPU cores; no job has ended on this service yet"
    )
    lines: list[RenderableType] = [table, Text(f"Times are those of {source}.")]
    has = [
        f"{size(amount)} {what}"
        for amount, what in ((estimate.memory_bytes, "of memory"), (estimate.free_bytes, "left in the blob store"))
        if amount is not None
    ]
    if has:
        lines.append(Text(f"It fits: there are {' and '.join(has)}."))
    lines += [Text(f"Warning: {warning}", style="yellow") for warning in estimate.warnings]
    return Group(*lines)


def garbage_table(collection: Collection) -> RenderableType:
    """What a garbage collection removed, or would remove."""
    table = Table(box=SIMPLE_HEAD, show_edge=False, padding=(0, 1, 0, 0))
    table.add_column("would be removed" if collection.dry_run else "removed")
    table.add_column("count", justify="right")
    table.add_column("size", justify="right")
    kinds = {
        "artefacts": collection.artefacts,
        "datasets": collection.datasets,
        "checkpoints": collection.checkpoints,
        "bulk predictions": collection.bulk_predictions,
        "temporary files": collection.temporary_files,
    }
    for kind, garbage in kinds.items():
        table.add_row(kind, f"{garbage.count:,}", size(garbage.bytes))
    table.add_row("expired idempotency keys", f"{collection.idempotency_keys:,}", "")
    table.add_row("in all", "", size(collection.bytes), style="bold")
    if not collection.failed:
        return table
    return Group(table, Text(f"{collection.failed:,} could not be removed; the service's log says why.", style="yellow"))
