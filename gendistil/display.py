"""Work as a person watches it: live on a terminal, as plain lines in a pipe or a CI log."""

import time
from collections.abc import Callable
from types import TracebackType
from typing import Self

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from gendistil.figures import duration, number
from gendistil.models import BulkPrediction, Job, StageView

PLAIN_SECONDS = 10.0
"""Without a terminal, a running stage prints a line at least this often."""
STYLES = {"succeeded": "green", "running": "cyan", "failed": "bold red", "cancelled": "yellow", "queued": "blue", "pending": "dim"}
MARKS = {"succeeded": "✓", "failed": "✗", "cancelled": "-", "queued": "…", "pending": " "}


class _Display:
    """Live on a terminal for as long as the block lasts, else plain lines."""

    def __init__(self, console: Console, clock: Callable[[], float] = time.monotonic) -> None:
        self.console, self.clock = console, clock
        self._live = Live(console=console, refresh_per_second=8) if console.is_terminal else None

    def __enter__(self) -> Self:
        if self._live:
            self._live.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._live:
            self._live.stop()

    def _plain(self, line: str) -> None:
        self.console.print(line, markup=False, highlight=False, soft_wrap=True)
        self.console.file.flush()  # a pipe is block-buffered: the reader would see nothing for minutes


class JobDisplay(_Display):
    """Shows a job as it goes: `with JobDisplay(console) as display: client.wait(id, on_update=display.update)`."""

    def __init__(self, console: Console, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__(console, clock)
        self._spinner = Spinner("dots", style="cyan")
        self._seen: dict[str, tuple[str, int]] = {}
        self._printed_at: dict[str, float] = {}
        self._status = ""

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


class BulkDisplay(_Display):
    """Shows how far a file is: live on a terminal, as a line for each change of status and one now and then in a pipe."""

    def __init__(self, console: Console, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__(console, clock)
        self._said: tuple[str, float] = ("", 0.0)

    def update(self, found: BulkPrediction) -> None:
        line = bulk_line(found)
        if self._live:
            bar = ProgressBar(total=found.progress.total or 1, completed=found.progress.done, width=24)
            self._live.update(Group(Text(line, style=STYLES.get(found.status, "")), bar), refresh=True)
        elif found.status != self._said[0] or self.clock() - self._said[1] >= PLAIN_SECONDS:
            self._said = (found.status, self.clock())
            self._plain(line)


def bulk_line(found: BulkPrediction) -> str:
    """`bp_1 triage:2 running, 300/1,000 rows, about 2 s left`"""
    parts = [f"{found.id} {found.student}:{found.version} {found.status}"]
    parts.append(f"{number(found.progress.done)}/{number(found.progress.total)} rows")
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
    return f"{number(progress.done)}/{number(progress.total)} {progress.unit}".rstrip() if progress.total else ""


def _remark(stage: StageView) -> str:
    parts = []
    if stage.reused:
        parts.append("reused")
    elif stage.seconds is not None and stage.status not in {"pending", "queued"}:
        parts.append(duration(stage.seconds))
    if stage.attempt > 1 and not stage.reused:
        parts.append(f"attempt {stage.attempt}")
    return ", ".join(parts)
